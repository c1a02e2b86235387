"""How the scale of classifier-free guidance trades variety for recognition: the same noise at every scale."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError
from emnist_diff.plugins import Registry
from emnist_diff_plugins.analysis.finished import Finished, generated
from emnist_diff_plugins.figures import bare, new_figure, png_of
from emnist_diff_plugins.judging.file import Judge, chosen_or_none
from emnist_diff_plugins.judging.reference import deviation
from emnist_diff_plugins.judging.scores import score

_CELL, _LABEL = 0.28, 0.6
"""Inches of an image in the grid, and of the names beside it."""


@attrs.frozen(eq=False)
class Cell:
    """The samples of one class at one scale.

    images: uint8 (N, C, H, W).  diversity: see `judging.reference.deviation`.  recognised: the share that the judge
    takes for the class; None without a judge.
    """

    name: str
    scale: float
    images: npt.NDArray[np.uint8]
    diversity: float
    recognised: float | None


@attrs.frozen(eq=False)
class GuidanceGrid:
    """One model.  cells: by scale and class, in the order of both."""

    label: str
    classes: tuple[str, ...]
    scales: tuple[float, ...]
    cells: tuple[tuple[Cell, ...], ...]

    def curve(self, value: str) -> npt.NDArray[np.float64]:
        """(classes, scales) of a cell's field, NaN where it is None."""
        rows = [[getattr(cell, value) for cell in row] for row in self.cells]
        values: npt.NDArray[np.float64] = np.array(rows, dtype=np.float64).T
        return values

    def picture(self) -> bytes:
        """A PNG: rows are classes, columns scales, cells strips of samples."""
        count = len(self.cells[0][0].images)
        width = _LABEL + len(self.scales) * count * _CELL
        figure = new_figure(width, _LABEL + len(self.classes) * _CELL)
        axes = figure.subplots(len(self.classes), len(self.scales), squeeze=False)
        for column, (scale, row) in enumerate(zip(self.scales, self.cells, strict=True)):
            for line, cell in enumerate(row):
                axis = axes[line][column]
                bare(axis, _strip(cell.images), cmap="gray", vmin=0, vmax=255)
                if line == 0:
                    axis.set_title(f"{scale:g}", fontsize=8)
                if column == 0:
                    axis.set_ylabel(cell.name, rotation=0, ha="right", va="center", fontsize=8)
        figure.suptitle(f"{self.label}: guidance scale", fontsize=9)
        return png_of(figure)


def _strip(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, C, H, W) side by side, (H, N·W) or (H, N·W, 3)."""
    joined = np.concatenate(list(images), axis=2)
    return np.moveaxis(joined, 0, -1) if len(joined) == 3 else joined[0]


def guidance_grid(
    registry: Registry,
    label: str,
    layer: Mapping[str, Any],
    scales: Sequence[float],
    judge: str | None = None,
    on_scale: Callable[[float], None] = lambda scale: None,
) -> GuidanceGrid:
    """The samples that a layer means at each scale.

    judge: as for `judging.file.chosen_or_none`.
    Raises as `finished.generated`, and `ConfigError` for a scale given twice or none.
    """
    if not scales or len(set(scales)) < len(scales):
        raise ConfigError(f"--scales: give different numbers, at least one, not {', '.join(f'{s:g}' for s in scales)}")
    rows: list[tuple[Cell, ...]] = []
    known: Judge | None = None
    for scale in scales:
        on_scale(scale)
        samples = generated(registry, {**layer, "guidance_scale": scale})
        known = known or chosen_or_none(judge, sorted(set(samples.names)), samples.images.shape[1:])
        rows.append(_cells(samples, scale, known))
    return GuidanceGrid(label, tuple(cell.name for cell in rows[0]), tuple(scales), tuple(rows))


def _cells(samples: Finished, scale: float, judge: Judge | None) -> tuple[Cell, ...]:
    cells = []
    for name in dict.fromkeys(samples.names):
        images = samples.images[[other == name for other in samples.names]]
        rate = None if judge is None else score(judge, images, [name] * len(images)).recognised
        cells.append(Cell(name, scale, images, deviation(images), rate))
    return tuple(cells)


def curves(grids: Sequence[GuidanceGrid]) -> bytes:
    """A PNG: diversity and recognition over the scale, a line a class, or of several models their means."""
    figure = new_figure(9.0, 3.4)
    panels = figure.subplots(1, 2)
    names = {"diversity": "diversity (pixel deviation)", "recognised": "recognised by the judge"}
    for axis, (value, title) in zip(panels, names.items(), strict=True):
        for grid in grids:
            lines = grid.curve(value)
            if np.isnan(lines).all():
                axis.text(0.5, 0.5, "no judge fits", ha="center", transform=axis.transAxes)
            elif len(grids) > 1:
                axis.plot(grid.scales, lines.mean(0), marker="o", markersize=3, label=grid.label)
            else:
                for name, line in zip(grid.classes, lines, strict=True):
                    axis.plot(grid.scales, line, linewidth=0.8, label=name if len(grid.classes) <= 10 else None)
                axis.plot(grid.scales, lines.mean(0), color="black", marker="o", markersize=3, label="mean")
        axis.set_xlabel("guidance scale")
        axis.set_title(title, fontsize=9)
    panels[0].legend(fontsize=6, ncols=2)
    return png_of(figure)


def table(grids: Sequence[GuidanceGrid]) -> bytes:
    """All cells as CSV: model, class, scale, diversity, recognised."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["model", "class", "scale", "diversity", "recognised"])
    for grid in grids:
        for row in grid.cells:
            for cell in row:
                rate = "" if cell.recognised is None else f"{cell.recognised:.6g}"
                rows.writerow([grid.label, cell.name, f"{cell.scale:g}", f"{cell.diversity:.6g}", rate])
    return out.getvalue().encode()


def write(grids: Sequence[GuidanceGrid], folder: Path) -> list[Path]:
    """A grid a model, ``curves.png`` and ``cells.csv``. Raises `OutputError`, `PluginError` without matplotlib."""
    from emnist_diff_trajectory.files import write_bytes

    files = {f"{grid.label}.png": grid.picture() for grid in grids}
    files |= {"curves.png": curves(grids), "cells.csv": table(grids)}
    for name, data in files.items():
        write_bytes(folder / name, data)
    return [folder / name for name in files]
