"""Every class in turn."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.presets._preset import scalar_field, stack


@attrs.frozen
class RotatingAll:
    """e_null + strength · F(one class a step, round and round); all classes of the model when none are listed.

    Example: ``--preset rotating_all --preset-args '{"strength": 2}'``
    """

    strength: Schedule = scalar_field(1.0, "how strongly to pull", aliases=("weight",))
    class_list: tuple[str, ...] | Literal["all"] | None = attrs.field(
        default=None, metadata={"help": "class names in order; all when left out", "aliases": ("classes",)}
    )
    period: int = attrs.field(default=1, metadata={"help": "steps that each class is held for"})

    def expand(self) -> dict[str, Any]:
        return stack(
            ("cycle_classes", {"strength": self.strength, "class_list": self.class_list, "period": self.period})
        )
