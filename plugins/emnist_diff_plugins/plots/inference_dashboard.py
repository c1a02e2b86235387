"""Nine panels that say how a run went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from emnist_diff_plugins.plots import (
    cumulative_l2,
    final_image_stats,
    generation_times,
    l2_velocity,
    latent_l2_per_step,
    panels,
    pixel_l2_per_step,
    schedule_overlay,
    video_summary,
)
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class InferenceDashboard:
    """Displacement, change of the picture, schedule; time, brightness, path length; path
    length over time, memory, change of the displacement."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.need(runs, "x")

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 2.4, 1.75

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        axes = figure.subplots(3, 3)
        latent_l2_per_step.panel(axes[0, 0], runs, theme)
        if lacking := panels.picture_need(runs):
            panels.absent(axes[0, 1], theme, f"no {lacking}")
        else:
            pixel_l2_per_step.panel(axes[0, 1], runs, theme, legend=False)
        schedule_overlay.panel(axes[0, 2], runs, theme)
        generation_times.panel(axes[1, 0], runs, theme)
        final_image_stats.panel(axes[1, 1], runs, theme, 0)
        video_summary.total_panel(axes[1, 2], runs, theme)
        cumulative_l2.panel(axes[2, 0], runs, theme, legend=False)
        video_summary.gpu_panel(axes[2, 1], runs, theme)
        l2_velocity.panel(axes[2, 2], runs, theme, legend=False)
