"""Noise that grows along the run."""

from __future__ import annotations

import attrs

from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.drifts._noise import NoiseDrift, share_done


@attrs.frozen
class TimeScaled(NoiseDrift):
    """Late noise: x' = x + noise_scale · step / steps · N(0, 1), none at the noise and most at the image.

    Example: ``--drift "time_scaled:noise_scale=0.05"``
    """

    def shape(self, at: StepInfo) -> float:
        return share_done(at)
