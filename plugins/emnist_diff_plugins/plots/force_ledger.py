"""What each force adds to the prediction, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

MOST = 6
"""Forces drawn each by itself; what the others add is drawn together."""


@attrs.frozen
class ForceLedger:
    """Mean norms of the forces' contributions, one on top of the other, and of base and prediction below."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return "" if _forced(runs) else "forces"

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        count = len(_forced(runs))
        return (1.0 if count == 1 else 0.85 * count), 0.95

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        forced = _forced(runs)
        axes = figure.subplots(2, len(forced), sharex="col", sharey="row", squeeze=False, height_ratios=(3, 2))
        for column, run in enumerate(forced):
            _forces(axes[0, column], run, theme)
            _sums(axes[1, column], run, theme)
            panels.step_axis(axes[0, column], [run], name=False)
            panels.step_axis(axes[1, column], [run])
            axes[0, column].set_title("Forces" if len(runs) == 1 else f"Forces of {run.name}")
        axes[0, 0].set_ylabel("‖contribution‖₂,\nmean, stacked")
        axes[1, 0].set_ylabel("norm, mean")
        axes[0, 0].set_ylim(bottom=0.0)
        axes[1, 0].set_ylim(bottom=0.0)


def _forced(runs: Sequence[Run]) -> list[Run]:
    """Those of the runs with forces."""
    return [run for run in runs if run.holds("forces")]


def _forces(axis: Any, run: Run, theme: Theme) -> None:
    layers = [panels.means(norm) for norm in run.force_norms()]
    names = [panels.label(name) for name in run.force_names]
    if len(layers) > MOST:
        names = [*names[: MOST - 1], f"{len(layers) - MOST + 1} others"]
        layers = [*layers[: MOST - 1], np.sum(layers[MOST - 1 :], axis=0)]
    colours = [theme.cycle[i % len(theme.cycle)] for i in range(len(layers))]
    if len(run.steps) > 1:
        axis.stackplot(run.steps, *layers, labels=names, colors=colours, edgecolor=theme.axes, linewidth=0.6)
    else:  # an area over one step has no width
        below = np.cumsum([np.zeros(1), *layers[:-1]], axis=0)
        for layer, bottom, name, colour in zip(layers, below, names, colours, strict=True):
            axis.bar(run.steps, layer, 0.8, bottom, label=name, color=colour, edgecolor=theme.axes, linewidth=0.6)
    handles, texts = axis.get_legend_handles_labels()
    # in the order of the stack, the uppermost first
    axis.legend(handles[::-1], texts[::-1], bbox_to_anchor=(0.0, 1.0), loc="upper left")
    top = float(np.sum(layers, axis=0).max())
    axis.set_ylim(0.0, max(axis.get_ylim()[1], top * (1.12 + 0.1 * len(layers))) if top else 1.0)


def _sums(axis: Any, run: Run, theme: Theme) -> None:
    for number, field in enumerate(("base", "prediction")):
        if run.holds(field):
            norms = panels.means(run.norms(field))
            axis.plot(run.steps, norms, label=field, **theme.line(number + 3), **panels.dots(len(run.steps)))
    if axis.get_lines():
        axis.legend()
    else:
        panels.absent(axis, theme, "neither base nor prediction recorded")
