"""Repulsion from a class."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import scalar_field, stack, target_field


@attrs.frozen
class RepelClassPreset:
    """e_null − strength · F(target): anything but the class.

    Example: ``--preset repel_class --preset-args '{"target": "B"}'``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: Schedule = scalar_field(1.0, "how strongly to push", aliases=("weight",))

    def expand(self) -> dict[str, Any]:
        return stack(("repel_class", {"target": self.target, "strength": self.strength}))
