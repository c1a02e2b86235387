"""Two classes that take turns, smoothly."""

from __future__ import annotations

import math

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import ClassForce, Target, scalar_field, target_field


@attrs.frozen
class OscillateTwo(ClassForce):
    """amp · (sin φ F(target) + cos φ F(secondary)), with φ = 2π · cycles · fraction of the run, or 2π · frequency ·
    step. Starts at the second class; the weights are negative, and repel, for half of each cycle.

    Example: ``--force "oscillate_two:target=3,secondary=8,cycles=2,amp=2"``
    """

    target: Target = target_field("class of the sine", default=attrs.NOTHING, aliases=("a", "class_a", "target_class"))
    secondary: Target = target_field("class of the cosine", default=attrs.NOTHING, aliases=("b", "class_b"))
    amp: Schedule = scalar_field(1.0, "amplitude", aliases=("strength", "amplitude"))
    cycles: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        metadata={"help": "cycles in a run; 1 when left out"},
    )
    frequency: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        metadata={"help": "cycles a step, in place of cycles"},
    )

    def __attrs_post_init__(self) -> None:
        if self.cycles is not None and self.frequency is not None:
            raise ConfigError("oscillate_two: use cycles or frequency, not both")

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        if self.frequency is not None:
            phase = self.frequency * at.index
        else:
            phase = (1.0 if self.cycles is None else self.cycles) * at.frac
        amp, angle = self.amp(at), 2.0 * math.pi * phase
        return [(self.target, amp * math.sin(angle)), (self.secondary, amp * math.cos(angle))]
