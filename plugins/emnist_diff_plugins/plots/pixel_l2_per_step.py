"""How much each step changes the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class PixelL2PerStep:
    """The L2 norm of the difference of consecutive pictures, over the steps."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.picture_need(runs)

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.64

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        panel(figure.subplots(), runs, theme)


def panel(axis: Any, runs: Sequence[Run], theme: Theme, legend: bool = True) -> None:
    """The plot on one axis."""
    panels.over_steps(axis, runs, theme, lambda run: run.pixel_l2, legend)
    axis.set_ylim(bottom=0.0)
    axis.set_title("Change of the picture")
    axis.set_ylabel(f"‖Δpixels‖₂ {panels.apart(runs)}\n(grey levels, 0–255)")
