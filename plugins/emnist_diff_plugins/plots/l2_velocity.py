"""Whether steps become longer or shorter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class L2Velocity:
    """The first difference of ‖Δx‖: by how much a step is longer than the one before."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.need(runs, "x") or ("" if all(len(run.steps) > 1 for run in runs) else "two kept steps")

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.64

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        panel(figure.subplots(), runs, theme)


def panel(axis: Any, runs: Sequence[Run], theme: Theme, legend: bool = True) -> None:
    """The plot on one axis: bars of one run with the range of the middle half of its samples, lines of several."""
    if not any(len(run.steps) > 1 for run in runs):
        panels.absent(axis, theme, "no two steps kept")
        return
    axis.axhline(0.0, color=theme.muted, linewidth=0.7)
    for number, run in enumerate(runs):
        if len(run.steps) < 2:
            continue
        change, at = np.diff(run.latent_l2, axis=1), panels.places(run.steps[1:], run, runs)
        middle = np.median(change, axis=0)
        if len(runs) > 1:
            style = {**theme.line(number), **panels.dots(len(at))}
            axis.plot(at, middle, label=panels.label(run.name), **style)
            continue
        colours = [theme.cycle[2] if value >= 0 else theme.cycle[1] for value in middle.tolist()]
        axis.bar(at, middle, width=0.8 * float(np.diff(run.steps).min()), color=colours, linewidth=0)
        if len(change) > 1:
            low, high = np.percentile(change, (25, 75), axis=0)
            axis.vlines(at, low, high, color=theme.text, linewidth=0.6, label="middle half of the samples")
            if legend:
                bottom, top = axis.get_ylim()
                axis.set_ylim(bottom, top + 0.14 * (top - bottom))  # room for the legend
                axis.legend(loc="upper left")
    if len(runs) > 1 and legend:
        axis.legend()
    panels.step_axis(axis, runs)
    if len(runs) == 1:
        axis.set_xlim(-0.5, runs[0].trajectory.steps - 0.5)  # the last bar is as wide as the others
    axis.set_title("Change of the displacement")
    axis.set_ylabel("Δ‖Δx‖₂" + (" (median)" if any(len(run.positions) > 1 for run in runs) else ""))
