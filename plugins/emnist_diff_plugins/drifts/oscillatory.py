"""Noise that comes and goes."""

from __future__ import annotations

import math

import attrs

from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.drifts._noise import NoiseDrift, share_done

_ROUNDING = 1e-12
"""What the sine of a multiple of pi comes to, in place of 0."""


@attrs.frozen
class Oscillatory(NoiseDrift):
    """x' = x + noise_scale · sin(2π · cycles · step / steps) · N(0, 1).

    Example: ``--drift "oscillatory:noise_scale=0.05,cycles=3"``
    """

    cycles: float = attrs.field(default=1.0, converter=float, metadata={"help": "waves in a run"}, kw_only=True)

    def shape(self, at: StepInfo) -> float:
        wave = math.sin(2.0 * math.pi * self.cycles * share_done(at))
        return wave if abs(wave) > _ROUNDING else 0.0
