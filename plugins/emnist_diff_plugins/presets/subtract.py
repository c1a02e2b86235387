"""One class minus another."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import scalar_field, stack, target_field


@attrs.frozen
class Subtract:
    """e_null + w_pos F(positive) − w_neg F(negative).

    Example: ``--preset subtract --preset-args '{"positive": "E", "negative": "F", "w_pos": 3, "w_neg": 2}'``
    """

    positive: Target = target_field("class to move toward", default=attrs.NOTHING, aliases=("pos_class", "a"))
    negative: Target = target_field("class to move away from", default=attrs.NOTHING, aliases=("neg_class", "b"))
    w_pos: Schedule = scalar_field(1.0, "weight of the first")
    w_neg: Schedule = scalar_field(1.0, "weight of the second")

    def expand(self) -> dict[str, Any]:
        return stack(
            (
                "subtract_two",
                {"target": self.positive, "secondary": self.negative, "w_pos": self.w_pos, "w_neg": self.w_neg},
            )
        )
