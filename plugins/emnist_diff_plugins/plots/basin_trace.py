"""Which class the estimate of the image leans to, over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from attrs import validators as v

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run, class_name
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class BasinTrace:
    """Of the samples of each class, the share whose estimate x0 leans to each class; see `Run.leaning`.

    Classes are known by the mean of their samples' final states, in the first run where there are several.
    """

    most: int = attrs.field(default=6, validator=v.ge(1), metadata={"help": "classes with a panel of their own"})

    def lacks(self, runs: Sequence[Run]) -> str:
        if lacking := panels.need(runs, "x0", "x"):
            return lacking
        if len({run.trajectory.x.shape[2:] for run in runs}) > 1:
            return "states of one shape"
        return "" if len(_classes(runs[0])) > 1 else "samples of two classes"

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        rows = min(self.most, max(len(_classes(run)) for run in runs))
        return (1.0 if len(runs) == 1 else 0.85 * len(runs)), 0.32 + 0.14 * rows

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        classes, references = runs[0].class_means()
        names = [class_name(runs[0], label) for label in classes.tolist()]
        leaning = [run.leaning(references) for run in runs]
        drawn = _most_seen(leaning, len(theme.cycle))
        rows = _rows(runs, self.most)
        axes = figure.subplots(len(rows), len(runs), sharex="col", sharey=True, squeeze=False)
        for column, (run, nearest) in enumerate(zip(runs, leaning, strict=True)):
            own = np.array(run.classes(run.positions))
            for row, name in enumerate(rows):
                _shares(axes[row, column], run, nearest[own == name], drawn, theme)
                if column == 0:
                    axes[row, 0].set_ylabel(panels.label(name), rotation=0, ha="right", va="center", fontweight="bold")
            panels.step_axis(axes[-1, column], [run])
            axes[-1, column].set_xlim(-0.5, run.trajectory.steps - 0.5)  # a stair is a step wide
            panels.by_name(axes[0, column], run, runs)
        colours = [theme.cycle[i] for i in range(len(drawn))]
        entries = [(colour, panels.label(names[c])) for colour, c in zip(colours, drawn, strict=True)]
        if len(drawn) < len(classes):
            entries.append((theme.muted, f"{len(classes) - len(drawn)} others"))
        _legend(figure, entries, theme)
        figure.suptitle("Leaning of x̂₀ by class (share of samples)", x=0.01, ha="left", fontsize=theme.size + 0.5)


def _classes(run: Run) -> npt.NDArray[np.int64]:
    """The classes of the samples."""
    return np.unique(run.trajectory.labels[run.positions])


def _most_seen(leaning: Sequence[npt.NDArray[np.int64]], most: int) -> list[int]:
    """The references that most samples lean to at any time, by number."""
    counts = Counter[int]()
    for nearest in leaning:
        counts.update(dict(zip(*(part.tolist() for part in np.unique(nearest, return_counts=True)), strict=True)))
    return sorted(number for number, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])


def _rows(runs: Sequence[Run], most: int) -> list[str]:
    """The own classes that have a panel: those of most samples, in order of the alphabet."""
    counts = Counter(name for run in runs for name in run.classes(run.positions))
    return sorted(name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])


def _shares(axis: Any, run: Run, nearest: npt.NDArray[np.int64], drawn: Sequence[int], theme: Theme) -> None:
    """Stairs of shares, one on top of the other: a step's estimate holds for that step."""
    axis.grid(visible=False)
    axis.set_ylim(0.0, 1.0)
    axis.set_yticks([0.0, 0.5, 1.0], ["0", "", "1"])
    if not len(nearest):
        panels.absent(axis, theme, "no samples")
        return
    bottom = np.zeros(len(run.steps))
    width = 0.5 * float(np.diff(run.steps).min()) if len(run.steps) > 1 else 0.5
    edges = np.concatenate([run.steps - width, run.steps[-1:] + width])
    layers = [(nearest == number).mean(axis=0) for number in drawn]
    layers.append(1.0 - np.sum(layers, axis=0))
    for number, layer in enumerate(layers):
        colour = theme.cycle[number] if number < len(drawn) else theme.muted
        axis.stairs(bottom + layer, edges, baseline=bottom, fill=True, color=colour, linewidth=0)
        bottom = bottom + layer


def _legend(figure: Any, entries: Sequence[tuple[str, str]], theme: Theme) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, edgecolor="none") for colour, _ in entries]
    figure.legend(
        handles,
        [text for _, text in entries],
        loc="outside right upper",
        title="leans to",
        frameon=False,
        title_fontsize=theme.size - 0.5,
    )
