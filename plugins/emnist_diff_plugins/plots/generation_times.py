"""How long each sample took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

TIMES = "times, which the metrics sink measures (emnist-diff run --save-metrics …)"


@attrs.frozen
class GenerationTimes:
    """Seconds (or milliseconds) a sample, from the files of the metrics sink beside the trajectory."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return "" if all("seconds" in run.measured for run in runs) else TIMES

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.64

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        panel(figure.subplots(), runs, theme)


def panel(axis: Any, runs: Sequence[Run], theme: Theme) -> None:
    """The plot on one axis; says so where nothing was measured."""
    if not all("seconds" in run.measured for run in runs):
        panels.absent(axis, theme, "no times recorded\n(run --save-metrics)")
        return
    seconds = [run.measured["seconds"] for run in runs]
    short = max(float(np.nanmax(values)) for values in seconds) < 0.1
    values = [1e3 * value for value in seconds] if short else seconds
    panels.per_sample(axis, runs, theme, values, "milliseconds" if short else "seconds")
    axis.set_title("Time a sample")
