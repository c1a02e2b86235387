"""Decay and white noise."""

from __future__ import annotations

import attrs
from torch import Tensor

from emnist_diff.schedules import Schedule
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.drifts._noise import left_alone, scale_field, skip_last_field
from emnist_diff_plugins.drifts.decay_only import decay_field, decayed


@attrs.frozen
class DefaultDrift:
    """x' = x (1 − decay) + noise_scale · N(0, 1).

    Example: ``--drift "default:noise_scale=0.03"``
    """

    noise_scale: Schedule = scale_field()
    decay: Schedule = decay_field(0.0)
    skip_last: bool = skip_last_field()

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return left_alone(self.skip_last, at) or (self.noise_scale(at) == 0 and self.decay(at) == 0)

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        if left_alone(self.skip_last, step.at):
            return x
        x, scale = decayed(x, self.decay, step.at), self.noise_scale(step.at)
        return x + scale * step.noise() if scale else x
