"""Repulsion from a class."""

from __future__ import annotations

import attrs

from emnist_diff.protocols import StepInfo
from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import ClassForce, Target, scalar_field, target_field


@attrs.frozen
class RepelClass(ClassForce):
    """−strength · F(target), with F(c) = e_c − e_null. A positive strength pushes away.

    Example: ``--force "repel_class:target=O,strength=0.5"``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: Schedule = scalar_field(1.0, "how strongly to push")

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(self.target, -self.strength(at))]
