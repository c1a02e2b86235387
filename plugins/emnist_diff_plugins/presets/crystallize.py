"""One class first, then another."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import first_class, scalar_field, second_class, stack


@attrs.frozen
class Crystallize:
    """e_null + strength · F(a) until the boundary, e_null + strength · F(b) from then on; with `a` alone e_null
    until the boundary, and e_null + strength · F(a) from then on.

    Example: ``--preset crystallize --preset-args '{"a": "O", "b": "Q", "boundary": 0.4, "strength": 3}'``
    """

    a: Target = first_class()
    b: Target | None = second_class(None)
    boundary: float = attrs.field(
        default=0.5, metadata={"help": "fraction of the run, or timestep, of the switch", "aliases": ("switch_t",)}
    )
    strength: Schedule = scalar_field(1.0, "how strongly to pull", aliases=("weight",))

    def expand(self) -> dict[str, Any]:
        first, second = ("null", self.a) if self.b is None else (self.a, self.b)
        return stack(
            (
                "switch_two",
                {"target": first, "secondary": second, "boundary": self.boundary, "strength": self.strength},
            )
        )
