"""Looking at runs: curves and figures."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff_plugins.contract import PlotSpec


@hookimpl
def emnist_diff_plots() -> Iterable[PlotSpec]:
    yield PlotSpec(
        name="schedules",
        factory=f"{__name__}.schedules:SchedulesPlot",
        summary="weights and scheduled settings of a run over time; needs matplotlib",
        default=True,
    )
