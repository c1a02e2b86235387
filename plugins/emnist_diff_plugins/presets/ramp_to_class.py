"""Attraction that grows."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import stack, target_field


@attrs.frozen
class RampToClass:
    """e_null + (start + (strength − start) · frac^power) · F(target).

    Example: ``--preset ramp_to_class --preset-args '{"target": "R", "strength": 4}'``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: float = attrs.field(
        default=1.0, metadata={"help": "weight at the image", "aliases": ("end_weight", "end_w")}
    )
    power: float = attrs.field(default=2.0, metadata={"help": "1 is a straight line, more is later"})
    start: float = attrs.field(
        default=0.0, metadata={"help": "weight at the noise", "aliases": ("start_weight", "start_w")}
    )

    def expand(self) -> dict[str, Any]:
        return stack(
            (
                "ramp_attract",
                {"target": self.target, "strength": self.strength, "power": self.power, "start": self.start},
            )
        )
