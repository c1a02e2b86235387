"""No force."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from torch import Tensor

from emnist_diff.conditions import Cond, Predictions
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo


@attrs.frozen
class NoForce:
    """0: adds nothing and evaluates nothing.

    Example: ``--force none``
    """

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        return step.x.new_zeros(step.x.shape)
