"""Attraction to a class."""

from __future__ import annotations

import attrs

from emnist_diff.protocols import StepInfo
from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import ClassForce, Target, scalar_field, target_field


@attrs.frozen
class AttractClass(ClassForce):
    """strength · F(target), with F(c) = e_c − e_null.

    On base ``uncond``, attracting to the own class with strength s is classifier-free guidance of scale s.

    Example: ``--force "attract_class:target=B,strength=2"``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: Schedule = scalar_field(1.0, "how strongly to pull")

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(self.target, self.strength(at))]
