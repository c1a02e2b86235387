"""A weighted sum of many classes."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff_plugins.forces.weighted_multi import Weights, targets_field, weights_field
from emnist_diff_plugins.presets._preset import stack


@attrs.frozen
class WeightedMultiPreset:
    """e_null + Σ_c w_c F(c).

    Example: ``--preset weighted_multi --preset-args '{"weights": {"A": 1, "B": 0.5}}'``
    """

    classes: Weights = weights_field()
    targets: tuple[str, ...] | None = targets_field()

    def expand(self) -> dict[str, Any]:
        return stack(("weighted_multi", {"classes": self.classes, "targets": self.targets}))
