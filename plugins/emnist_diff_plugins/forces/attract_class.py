"""Attraction to a class."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from torch import Tensor

from emnist_diff.conditions import Cond, Predictions, named
from emnist_diff.protocols import Step, StepInfo
from emnist_diff_plugins.forces._class_field import null_of, strength_field, target_field


@attrs.frozen
class AttractClass:
    """strength · F(target), with F(c) = e_c − e_null.

    On base ``uncond``, attracting to the own class with strength s is classifier-free guidance of scale s.

    Example: ``--force "attract_class:target=B,strength=2"``
    """

    target: str = target_field()
    strength: float = strength_field()

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        if self.strength == 0:
            return ()
        target = named(self.target)
        return (target, null_of(target))

    def __call__(self, predictions: Predictions, step: Step) -> Tensor:
        if self.strength == 0:
            return step.x.new_zeros(step.x.shape)
        return self.strength * predictions.direction(named(self.target))
