"""The weight of each force over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class Weights:
    """The recorded weights of the forces, one stair a step. Settings of a force that change over time are not in it;
    ``emnist-diff run --plot-schedules`` draws those."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return "" if _forced(runs) else "forces"

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        count = len(_forced(runs))
        return (1.0 if count == 1 else 0.85 * count), 0.6

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        forced = _forced(runs)
        axes = figure.subplots(1, len(forced), sharey=True, squeeze=False)[0]
        for axis, run in zip(axes, forced, strict=True):
            axis.axhline(0.0, color=theme.muted, linewidth=0.7)
            edges = np.arange(run.trajectory.steps + 1) - 0.5
            for number, (name, weight) in enumerate(zip(run.force_names, run.force_weights(), strict=True)):
                style = theme.line(number)
                width = max(1.0, 2.4 - 0.4 * number)  # one under another still shows
                axis.stairs(weight, edges, baseline=None, label=panels.label(name), linewidth=width, **style)
            axis.margins(y=0.15)
            axis.legend()
            panels.step_axis(axis, [run])
            axis.set_title("Weights of forces" if len(runs) == 1 else f"Weights of {run.name}")
        axes[0].set_ylabel("weight")


def _forced(runs: Sequence[Run]) -> list[Run]:
    """Those of the runs with forces."""
    return [run for run in runs if run.trajectory.force_names]
