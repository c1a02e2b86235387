"""One class first, then another."""

from __future__ import annotations

import attrs
from attrs import validators as v

from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import ClassForce, Target, scalar_field, target_field


@attrs.frozen
class SwitchTwo(ClassForce):
    """strength · F(target) while the fraction of the run is below `boundary`, strength · F(secondary) from then on.

    A boundary above 1 is a training timestep: the first class while the timestep is above it.

    Example: ``--force "switch_two:target=O,secondary=Q,boundary=0.5,strength=2"``
    """

    target: Target = target_field("first class", default=attrs.NOTHING, aliases=("a", "class_a", "target_class"))
    secondary: Target = target_field("second class", default=attrs.NOTHING, aliases=("b", "class_b"))
    boundary: float = attrs.field(
        default=0.5,
        converter=float,
        validator=v.ge(0),
        metadata={"help": "fraction of the run, or timestep, of the switch", "aliases": ("switch_t",)},
    )
    strength: Schedule = scalar_field(1.0, "multiplies both")

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        first = at.timestep > self.boundary if self.boundary > 1 else at.frac < self.boundary
        return [(self.target if first else self.secondary, self.strength(at))]
