"""What the finished images are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

STATS = ("mean", "standard deviation", "minimum", "maximum")


@attrs.frozen
class FinalImageStats:
    """Mean, standard deviation, minimum and maximum of each final image, in grey levels, 0 … 255."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return ""

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.5, 1.05

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        for number, axis in enumerate(figure.subplots(2, 2).flat):
            panel(axis, runs, theme, number)


def panel(axis: Any, runs: Sequence[Run], theme: Theme, stat: int) -> None:
    """One of `STATS` on one axis."""
    span = (0.0, 255.0) if stat > 1 else None  # of extremes, the whole range says more than the last digits
    panels.per_sample(axis, runs, theme, [run.final_pixels[stat] for run in runs], "grey level (0–255)", span)
    axis.set_title(f"Final image: {STATS[stat]}")
