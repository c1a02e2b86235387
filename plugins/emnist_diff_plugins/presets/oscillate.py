"""Two classes that take turns, smoothly."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import first_class, scalar_field, second_class, stack


@attrs.frozen
class Oscillate:
    """e_null + amp · (sin φ F(a) + cos φ F(b)), φ = 2π · cycles · fraction, or 2π · frequency · step.

    Example: ``--preset oscillate --preset-args '{"a": "3", "b": "8", "cycles": 2}'``
    """

    a: Target = first_class()
    b: Target = second_class()
    amp: Schedule = scalar_field(1.0, "amplitude", aliases=("strength", "amplitude"))
    cycles: float | None = attrs.field(default=None, metadata={"help": "cycles in a run; 1 when left out"})
    frequency: float | None = attrs.field(default=None, metadata={"help": "cycles a step, in place of cycles"})

    def expand(self) -> dict[str, Any]:
        return stack(
            (
                "oscillate_two",
                {
                    "target": self.a,
                    "secondary": self.b,
                    "amp": self.amp,
                    "cycles": self.cycles,
                    "frequency": self.frequency,
                },
            )
        )
