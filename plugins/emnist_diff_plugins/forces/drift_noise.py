"""White noise in score space."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from torch import Tensor

from emnist_diff.conditions import Cond, Predictions
from emnist_diff.schedules import Schedule
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import scalar_field


@attrs.frozen
class DriftNoise:
    """sigma · N(0, 1), added to the prediction; nothing where sigma ≤ 0.

    Example: ``--force "drift_noise:sigma=0.02"``
    """

    sigma: Schedule = scalar_field(0.02, "standard deviation of the noise")

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.sigma(at) <= 0

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        sigma = self.sigma(step.at)
        return sigma * step.noise() if sigma > 0 else step.x.new_zeros(step.x.shape)
