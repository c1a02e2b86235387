"""Which places attend to which token, over time and in all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.attended import Maps, Piece, pieces
from emnist_diff_plugins.plots.heat import bare, below, blended, close_together, frames, heat, picture
from emnist_diff_plugins.plots.moments import as_chosen, attended, head_setting, moments, positions, steps_setting
from emnist_diff_plugins.plots.runs import Run, shown
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen(eq=False)
class _Row:
    """A token of a sample: heat (K + 1, H, W) at the steps that are drawn and, last, over all that are kept."""

    run: Run
    position: int
    piece: Piece
    heat: Maps


@attrs.frozen
class TokenMaps:
    """One row a token that is not special, one column a step, and last the mean over all kept steps, as DAAM draws it
    (see `heat.heat`). Colours go from the lowest to the highest share of a row, which stand beside it; in the last
    column from its own lowest to its own highest."""

    samples: tuple[int, ...] = attrs.field(default=(), metadata={"help": "ids; the first sample otherwise"})
    words: bool = attrs.field(default=False, metadata={"help": "the mean of the tokens of a word in one row"})
    most: int = attrs.field(default=12, validator=v.ge(1), metadata={"help": "at most this many rows of a sample"})
    layers: tuple[str, ...] = attrs.field(default=(), metadata={"help": "layers, by path or pattern; all otherwise"})
    moments: int = attrs.field(default=6, validator=v.ge(1), metadata={"help": "at most this many steps"})
    steps: tuple[int, ...] = steps_setting()
    head: int | None = head_setting()
    condition: str | None = attrs.field(
        default="", metadata={"help": "whose evaluation; the sample's own text otherwise"}
    )

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.attention_need(runs, "cross") or panels.token_need(runs, self.condition)

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        rows = sum(len(self._pieces(run, p)) for run in runs for p in positions(run, self.samples, 1))
        return 0.42 + 0.17 * (1 + self._columns(runs)), 0.12 + 0.19 * max(1, rows)

    def _columns(self, runs: Sequence[Run]) -> int:
        return max(len(moments(run, attended(run).condition(self.condition), self.moments, self.steps)) for run in runs)

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        rows = [row for run in runs for p in positions(run, self.samples, 1) for row in self._rows(run, p)]
        columns = self._columns(runs)
        axes = figure.subplots(len(rows), columns + 1, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        close_together(figure)
        for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
            run, position = row.run, row.position
            steps = moments(run, attended(run).condition(self.condition), self.moments, self.steps)
            pictures = frames(run, position, steps)
            begins = number == 0 or (rows[number - 1].run, rows[number - 1].position) != (run, position)
            for axis in line:
                bare(axis)
            for axis, frame, step, shares in zip(line, pictures, steps, row.heat, strict=False):
                picture(axis, blended(frame, shares, *_ends(row.heat[:-1])))
                if begins:
                    axis.set_title(str(step), loc="center", fontsize=theme.size - 0.5)
            picture(line[-1], blended(run.trajectory.images[position], row.heat[-1], *_ends(row.heat[-1])))
            if begins:
                line[-1].set_title("all", loc="center", fontsize=theme.size - 0.5)
            text = panels.label(shown(row.piece.name).replace(" (", "\n("))
            if begins and (len(rows) > len(self._pieces(run, position))):
                name = f"{panels.label(run.classes(np.array([position]))[0])} #{int(run.trajectory.ids[position])}"
                text = name + (f" {run.name}" if len(runs) > 1 else "") + f"\n{text}"
            line[0].set_ylabel(f"{text}\n{_span(row.heat[:-1])}", rotation=0, ha="right", va="center")
        text = f"step, {below(runs[0])}{as_chosen(self.condition, self.head)}"
        figure.supxlabel(f"{text}\nbeside a row: its lowest … highest share of attention", fontsize=theme.size)

    def _pieces(self, run: Run, position: int) -> tuple[Piece, ...]:
        source = attended(run)
        return pieces(source.tokens(position, source.condition(self.condition)), self.words)[: self.most]

    def _rows(self, run: Run, position: int) -> list[_Row]:
        source, some = attended(run, self.head), self._pieces(run, position)
        condition, layers = source.condition(self.condition), source.layers("cross", self.layers)
        height, width = run.trajectory.images.shape[1:3]
        every = source.evaluated(condition).tolist()
        times = [*([step] for step in moments(run, condition, self.moments, self.steps)), every]
        maps = [heat(source, layers, position, condition, steps, some, (height, width)) for steps in times]
        return [_Row(run, position, piece, each) for piece, each in zip(some, np.stack(maps, axis=1), strict=True)]


def _ends(heat: Maps) -> tuple[float, float]:
    return float(heat.min()), float(heat.max())


def _span(heat: Maps) -> str:
    lowest, highest = _ends(heat)
    return f"{lowest:.2g} … {highest:.2g}"
