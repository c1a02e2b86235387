"""A mixture of two classes."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import first_class, optional_scalar_field, scalar_field, second_class, stack


@attrs.frozen
class Blend:
    """e_null + w_a F(a) + w_b F(b); or, with alpha, e_null + strength · ((1 − alpha) F(a) + alpha F(b)).

    Example: ``--preset blend --preset-args '{"a": "3", "b": "8", "alpha": 0.5, "strength": 3}'``
    """

    a: Target = first_class()
    b: Target = second_class()
    w_a: Schedule | None = optional_scalar_field("weight of the first class; strength when left out")
    w_b: Schedule | None = optional_scalar_field("weight of the second class; strength when left out")
    alpha: Schedule | None = optional_scalar_field("share of the second class", aliases=("blend_alpha",))
    strength: Schedule = scalar_field(1.0, "weight of a class that has none of its own")

    def expand(self) -> dict[str, Any]:
        return stack(
            (
                "blend_two",
                {
                    "target": self.a,
                    "secondary": self.b,
                    "w_a": self.w_a,
                    "w_b": self.w_b,
                    "alpha": self.alpha,
                    "strength": self.strength,
                },
            )
        )
