"""Repulsion from a class."""

from __future__ import annotations

from typing import ClassVar

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from emnist_diff_plugins.forces._class_force import AWAY, ClassForce, Target, scalar_field, target_field


@attrs.frozen
class RepelClass(ClassForce):
    """−strength · F(target), with F(c) = e_c − e_null. Pushes away at any sign: a negative strength or
    weight is read as its magnitude, and one that changes its sign is refused.

    Example: ``--force "repel_class:target=O,strength=0.5"``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: Schedule = scalar_field(1.0, "how strongly to push")

    directions: ClassVar[Directions] = {"weight": AWAY, "strength": AWAY}

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(self.target, -self.strength(at))]
