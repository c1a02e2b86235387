"""How far each step moves the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class LatentL2PerStep:
    """‖x_{k+1} − x_k‖ over the steps."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.need(runs, "x")

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.64

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        panel(figure.subplots(), runs, theme)


def panel(axis: Any, runs: Sequence[Run], theme: Theme, legend: bool = True) -> None:
    """The plot on one axis."""
    panels.over_steps(axis, runs, theme, lambda run: run.latent_l2, legend)
    axis.set_ylim(bottom=0.0)
    axis.set_title("Displacement of the state")
    axis.set_ylabel(f"‖Δx‖₂ {panels.apart(runs)}")
