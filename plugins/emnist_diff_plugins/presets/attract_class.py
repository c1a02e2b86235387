"""Attraction to a class."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import scalar_field, stack, target_field


@attrs.frozen
class AttractClassPreset:
    """e_null + strength · F(target): classifier-free guidance of scale strength, by hand.

    Example: ``--preset attract_class --preset-args '{"target": "B", "strength": 3}'``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: Schedule = scalar_field(1.0, "how strongly to pull", aliases=("weight",))

    def expand(self) -> dict[str, Any]:
        return stack(("attract_class", {"target": self.target, "strength": self.strength}))
