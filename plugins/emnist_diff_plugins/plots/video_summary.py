"""Path length, time and memory of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.plots import generation_times, panels
from emnist_diff_plugins.plots.runs import Floats, Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class VideoSummary:
    """Three panels: total displacement, time, peak GPU memory. What was not measured is left empty."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.need(runs, "x")

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.9, 0.6

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        left, middle, right = figure.subplots(1, 3)
        total_panel(left, runs, theme)
        generation_times.panel(middle, runs, theme)
        gpu_panel(right, runs, theme)


def _totals(run: Run) -> Floats:
    """(committed,) Σ ‖Δx‖ of each sample, NaN where its states are not kept."""
    out = np.full(len(run.committed), np.nan)
    out[np.searchsorted(run.committed, run.positions)] = run.latent_l2.sum(axis=1)
    return out


def total_panel(axis: Any, runs: Sequence[Run], theme: Theme) -> None:
    """How long the path of each sample was."""
    panels.per_sample(axis, runs, theme, [_totals(run) for run in runs], "Σ ‖Δx‖₂")
    axis.set_title("Path length")


def gpu_panel(axis: Any, runs: Sequence[Run], theme: Theme) -> None:
    """Peak memory of the GPU; says so where nothing was measured."""
    if not all("gpu_mb" in run.measured for run in runs):
        panels.absent(axis, theme, "no GPU memory recorded")
        return
    panels.per_sample(axis, runs, theme, [run.measured["gpu_mb"] for run in runs], "MB")
    axis.set_title("Peak GPU memory")
