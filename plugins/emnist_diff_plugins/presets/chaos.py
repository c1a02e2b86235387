"""Noise and every class in turn."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from emnist_diff.schedules import Schedule
from emnist_diff_plugins.presets._preset import scalar_field, stack


@attrs.frozen
class Chaos:
    """e_null + sigma · N + strength · F(one class a step).

    Example: ``--preset chaos --preset-args '{"sigma": 0.1}'``
    """

    sigma: Schedule = scalar_field(0.1, "standard deviation of the noise")
    classes: tuple[str, ...] | Literal["all"] | None = attrs.field(
        default=None, metadata={"help": "class names in order; all when left out", "aliases": ("class_list",)}
    )
    strength: Schedule = scalar_field(0.5, "how strongly to pull", aliases=("weight",))

    def expand(self) -> dict[str, Any]:
        return stack(
            ("drift_noise", {"sigma": self.sigma}),
            ("cycle_classes", {"class_list": self.classes, "strength": self.strength}),
        )
