"""Samples from noise to image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run, position_of
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class DenoisingStrips:
    """One row a sample, one column a moment; of several runs the same samples one under the other."""

    samples: int = attrs.field(
        default=6, validator=v.ge(1), metadata={"help": "at most this many samples, over all runs"}
    )
    moments: int = attrs.field(default=9, validator=v.ge(2), metadata={"help": "at most this many moments"})

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.picture_need(runs)

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        across = 1.08 / self.moments
        return max(0.75, 0.22 + across * self._columns(runs)), 0.2 + across * self._count(runs)

    def _columns(self, runs: Sequence[Run]) -> int:
        return min(self.moments, min(len(run.steps) for run in runs) + 1)

    def _count(self, runs: Sequence[Run]) -> int:
        return sum(
            position_of(run, number) is not None
            for number in _ids(runs[0], max(1, self.samples // len(runs)))
            for run in runs
        )

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        rows = []
        for number in _ids(runs[0], max(1, self.samples // len(runs))):
            for run in runs:
                position = position_of(run, number)
                if position is not None:
                    rows.append((number, run, position))
        columns = self._columns(runs)
        axes = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)
        alike = len({run.trajectory.steps for run in runs}) == 1
        for row, (number, run, position) in enumerate(rows):
            kept = [*run.steps.tolist(), run.trajectory.steps]
            moments = [kept[i] for i in np.linspace(0, len(kept) - 1, columns).round().astype(int).tolist()]
            name = panels.label(run.classes(np.array([position]))[0])
            text = f"{name}  #{number}" + (f"\n{run.name}" if len(runs) > 1 else "")
            axes[row, 0].set_ylabel(text, rotation=0, ha="right", va="center")
            for axis, image, step in zip(axes[row], run.pictures(position, moments), moments, strict=True):
                _show(axis, image)
                if row == 0:
                    fraction = f"{step / run.trajectory.steps:.0%}"
                    axis.set_title(str(step) if alike else fraction, loc="center", fontsize=theme.size - 0.5)
        figure.supxlabel(
            "state before step (the last: the image)" if alike else "share of the run", fontsize=theme.size
        )


def _ids(run: Run, most: int) -> list[int]:
    """Ids of samples of as many classes as there are, the first of each class first."""
    labels = run.trajectory.labels[run.positions]
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], labels[order])
    turn = np.empty(len(labels), dtype=np.int64)
    turn[order] = np.arange(len(labels)) - starts  # the how-manieth of its class each sample is
    chosen = np.lexsort((labels, turn))[:most]
    chosen = chosen[np.lexsort((turn[chosen], labels[chosen]))]
    return [int(n) for n in run.trajectory.ids[run.positions[chosen]].tolist()]


def _show(axis: Any, image: Any) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
