"""Attraction to a class."""

from __future__ import annotations

from typing import ClassVar

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from emnist_diff_plugins.forces._class_force import TOWARD, ClassForce, Target, scalar_field, target_field


@attrs.frozen
class AttractClass(ClassForce):
    """strength · F(target), with F(c) = e_c − e_null.

    Strength and weight are at least 0; to push away, use ``repel_class``.

    On base ``uncond``, attracting to the own class with strength s is classifier-free guidance of scale s.

    Example: ``--force "attract_class:target=B,strength=2"``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: Schedule = scalar_field(1.0, "how strongly to pull")

    directions: ClassVar[Directions] = {"weight": TOWARD, "strength": TOWARD}

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(self.target, self.strength(at))]
