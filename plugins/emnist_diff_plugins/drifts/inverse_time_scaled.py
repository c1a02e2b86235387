"""Noise that fades along the run."""

from __future__ import annotations

import attrs

from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.drifts._noise import NoiseDrift, share_done


@attrs.frozen
class InverseTimeScaled(NoiseDrift):
    """Early noise: x' = x + noise_scale · (1 − step / steps) · N(0, 1), most at the noise and least at the image.

    Example: ``--drift "inverse_time_scaled:noise_scale=0.05"``
    """

    def shape(self, at: StepInfo) -> float:
        return 1.0 - share_done(at)
