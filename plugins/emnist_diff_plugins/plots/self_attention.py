"""Where places of a sample attend to, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.attended import Maps
from emnist_diff_plugins.plots.heat import (
    below,
    blended,
    close_together,
    colour_bar,
    density,
    enlarged,
    frames,
    picture,
)
from emnist_diff_plugins.plots.moments import as_chosen, attended, head_setting, moments, positions, steps_setting
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

_COMMON = 99.5
"""Percentile of the values that has the last colour: a few cells above it would leave the others dark."""


@attrs.frozen
class SelfAttention:
    """One row a place of a sample, which a ring marks, one column a step: the attention that it gives to each place,
    as a multiple of what each would get if all got alike. The mean of the layers and heads."""

    places: tuple[tuple[int, int], ...] = attrs.field(
        default=(), metadata={"help": "row and column of each in the picture, e.g. [[10,14]]; an even grid otherwise"}
    )
    grid: int = attrs.field(default=2, validator=v.and_(v.ge(1), v.le(8)), metadata={"help": "places a side of that"})
    layers: tuple[str, ...] = attrs.field(default=(), metadata={"help": "layers, by path or pattern; all otherwise"})
    samples: tuple[int, ...] = attrs.field(default=(), metadata={"help": "ids; the first sample otherwise"})
    moments: int = attrs.field(default=7, validator=v.ge(1), metadata={"help": "at most this many steps"})
    steps: tuple[int, ...] = steps_setting()
    head: int | None = head_setting()
    condition: str | None = attrs.field(
        default="", metadata={"help": "whose evaluation; the sample's own class otherwise"}
    )

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.attention_need(runs, "self")

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        columns = max(
            len(moments(run, attended(run).condition(self.condition), self.moments, self.steps)) for run in runs
        )
        rows = sum(len(positions(run, self.samples, 1)) * len(self._places(run)) for run in runs)
        return 0.52 + 0.15 * columns, max(0.36, 0.14 + 0.155 * rows)

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        rows = [
            (run, position, place, self._maps(run, position, place))
            for run in runs
            for position in positions(run, self.samples, 1)
            for place in self._places(run)
        ]
        highest = max(1.0, float(np.percentile(np.concatenate([maps.ravel() for *_, maps in rows]), _COMMON)))
        columns = max(len(maps) for *_, maps in rows)
        axes = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
        close_together(figure)
        for number, (row, (run, position, place, maps)) in enumerate(zip(axes, rows, strict=True)):
            begins = number == 0 or rows[number - 1][:2] != (run, position)
            steps = moments(run, attended(run).condition(self.condition), self.moments, self.steps)
            for axis in row[len(steps) :]:
                axis.set_axis_off()
            for axis, frame, step, heat in zip(row, frames(run, position, steps), steps, maps, strict=False):
                picture(axis, blended(frame, heat, 0.0, highest))
                axis.plot(place[1], place[0], "o", markersize=5, markerfacecolor="none", markeredgecolor="#4cc9f0")
                if number == 0 or (begins and len(runs) > 1):
                    axis.set_title(str(step), loc="center", fontsize=theme.size - 0.5)
            name = panels.label(run.classes(np.array([position]))[0])
            first = f"{name} #{int(run.trajectory.ids[position])}" + (f" {run.name}" if len(runs) > 1 else "")
            text = f"row {place[0]}, column {place[1]}"
            row[0].set_ylabel(f"{first}\n{text}" if begins else text, rotation=0, ha="right", va="center")
        colour_bar(figure, axes, (0.0, highest), "attention\n(1: all places alike)", theme, above=True)
        figure.supxlabel(f"step, {below(runs[0])}{as_chosen(self.condition, self.head)}", fontsize=theme.size)

    def _places(self, run: Run) -> tuple[tuple[int, int], ...]:
        """Rows and columns in the picture. Raises `ConfigError` for one outside."""
        height, width = run.trajectory.images.shape[1:3]
        if not self.places:
            ends = [(2 * i + 1) / (2 * self.grid) for i in range(self.grid)]
            return tuple((int(y * height), int(x * width)) for y in ends for x in ends)
        for row, column in self.places:
            if not (0 <= row < height and 0 <= column < width):
                raise ConfigError(f"self_attention: place ({row}, {column}) is outside of the {height}×{width} picture")
        return self.places

    def _maps(self, run: Run, position: int, place: tuple[int, int]) -> Maps:
        """(K, H, W) what the place attends to at each step that is drawn."""
        source = attended(run, self.head)
        condition = source.condition(self.condition)
        steps, size = moments(run, condition, self.moments, self.steps), tuple(run.trajectory.images.shape[1:3])
        layers = source.layers("self", self.layers)
        total = np.zeros((len(steps), *size), dtype=np.float32)
        for layer in layers:
            y, x = (place[side] * layer.grid[side] // size[side] for side in (0, 1))
            maps = source.read(layer.path, position, condition, steps)[:, :, y, x].mean(1)
            total += enlarged(density(maps), size)
        mean: Maps = total / np.float32(len(layers))
        return mean
