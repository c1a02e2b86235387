"""The noise schedule that the run walked down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Floats, Run
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class ScheduleOverlay:
    """ᾱ, the signal power, on the left and β, the share of the power that a step's noise has, on the right."""

    def lacks(self, runs: Sequence[Run]) -> str:
        return ""

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.64

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        lines = panel(figure.subplots(), runs, theme)
        if lines:
            figure.legend(
                lines, [line.get_label() for line in lines], loc="outside lower center", ncols=2, frameon=False
            )


def betas(run: Run) -> Floats:
    """(T,) β = 1 − ᾱ / ᾱ_next of every step of the run; of as many steps as in training, training's β."""
    file = run.trajectory
    after = file.schedule().get("alpha_bar_next", np.append(file.alpha_bar[1:], 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.asarray(1.0 - file.alpha_bar / after, dtype=np.float64)
    return np.where(np.isfinite(share), share, np.nan)


def panel(axis: Any, runs: Sequence[Run], theme: Theme) -> list[Any]:
    """The plot on one axis, and a second on its right. Of several runs, one line for each schedule; these lines, where
    there is more than one schedule, are to be named in a legend."""
    right = axis.twinx()
    right.grid(visible=False)
    right.spines["right"].set_visible(True)
    left_colour, right_colour = theme.cycle[0], theme.cycle[1]
    several = any(not np.array_equal(run.trajectory.alpha_bar, runs[0].trajectory.alpha_bar) for run in runs)
    drawn: list[Run] = []
    for run in runs:
        if any(np.array_equal(run.trajectory.alpha_bar, other.trajectory.alpha_bar) for other in drawn):
            continue
        dashes = theme.line(len(drawn))["linestyle"]
        steps = panels.places(np.arange(run.trajectory.steps), run, runs)
        name = f" {run.name}" if several else ""
        axis.plot(
            steps,
            run.trajectory.alpha_bar,
            color=left_colour,
            linestyle=dashes,
            label=f"ᾱ{name}",
            **panels.dots(len(steps)),
        )
        style = {"color": right_colour, "linestyle": dashes, **panels.dots(len(steps), "s")}
        right.plot(steps, betas(run), label=f"β{name}", **style)
        drawn.append(run)
    panels.step_axis(axis, runs)
    for one, colour, text in ((axis, left_colour, "ᾱ (signal power)"), (right, right_colour, "β of the step")):
        one.set_ylim(-0.03, 1.03)
        one.set_ylabel(text, color=colour)
        one.tick_params(axis="y", labelcolor=colour)
    axis.set_title("Noise schedule")
    return [*axis.get_lines(), *right.get_lines()] if several else []  # of one schedule, the coloured axes say it
