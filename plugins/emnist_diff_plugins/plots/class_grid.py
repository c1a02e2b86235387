"""The finished images, by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from attrs import validators as v

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Run, class_name
from emnist_diff_plugins.plots.theme import Theme
from emnist_diff_trajectory.opening import reading

_TITLE = 0.75
"""Columns of text: the least width, which the title takes."""
_GAP = 1
"""Pixels between images."""
_LARGEST = 256
"""Pixels: of larger images every second, third, … is shown."""


@attrs.frozen
class ClassGrid:
    """Final images, one row a class; of a single class several rows."""

    columns: int = attrs.field(default=10, validator=v.ge(1), metadata={"help": "at most this many images in a row"})
    rows: int = attrs.field(default=64, validator=v.ge(1), metadata={"help": "at most this many rows"})

    def lacks(self, runs: Sequence[Run]) -> str:
        return ""

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        rows, columns = max(len(self._rows(run)) for run in runs), self._widest(runs)
        width = min(1.0, 0.13 + 0.1 * columns) if len(runs) == 1 else 0.95 * len(runs)
        across = (width - 0.1) / (columns * len(runs))
        return max(_TITLE, width), 0.09 + rows * across

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        axes = figure.subplots(1, len(runs), squeeze=False)[0]
        for axis, run in zip(axes, runs, strict=True):
            rows = self._rows(run)
            image = self._image(run, [positions for _, positions in rows], self._widest([run]), theme)
            axis.imshow(image, interpolation="nearest")
            axis.set_anchor("NW")  # under its title, beside larger ones too
            height = -(-run.trajectory.images.shape[1] // _stride(run)) + _GAP
            axis.set_yticks([i * height + height / 2 - 0.5 for i in range(len(rows))], [name for name, _ in rows])
            axis.set_xticks([])
            axis.tick_params(length=0)
            axis.grid(visible=False)
            for spine in axis.spines.values():
                spine.set_visible(False)
            seen = sum(len(positions) for _, positions in rows)
            count = (
                f"{seen} of {len(run.committed)} images"
                if seen < len(run.committed)
                else f"{seen} image{'s'[: seen != 1]}"
            )
            axis.set_title(f"Final images ({count})" if len(runs) == 1 else f"{run.name} ({count})")

    def _rows(self, run: Run) -> list[tuple[str, npt.NDArray[np.int64]]]:
        """Name and positions of the samples in each row."""
        labels = run.trajectory.labels[run.committed]
        classes = np.unique(labels).tolist()
        if len(classes) == 1:
            name = panels.label(class_name(run, classes[0]))
            parts = [run.committed[i : i + self.columns] for i in range(0, len(run.committed), self.columns)]
            return [(name if i == 0 else "", part) for i, part in enumerate(parts[: min(self.rows, 10)])]
        return [
            (panels.label(class_name(run, c)), run.committed[labels == c][: self.columns]) for c in classes[: self.rows]
        ]

    def _widest(self, runs: Sequence[Run]) -> int:
        return max(len(positions) for run in runs for _, positions in self._rows(run))

    def _image(self, run: Run, rows: Sequence[npt.NDArray[np.int64]], columns: int, theme: Theme) -> Any:
        """All images in one RGB picture, the theme's ground between them."""
        images = run.trajectory.images
        every = _stride(run)
        height, width = (-(-size // every) + _GAP for size in images.shape[1:3])
        ground = [int(theme.figure[i : i + 2], 16) for i in (1, 3, 5)]
        out = np.empty((len(rows) * height - _GAP, columns * width - _GAP, 3), dtype=np.uint8)
        out[:] = ground
        for row, positions in enumerate(rows):
            for column, position in enumerate(positions.tolist()):
                with reading(run.trajectory.path):
                    image = np.asarray(images[position])[::every, ::every]
                part = out[row * height : row * height + height - _GAP, column * width : column * width + width - _GAP]
                part[:] = image if image.ndim == 3 else image[..., None]
        return out


def _stride(run: Run) -> int:
    """Which pixels of an image are shown: every one, or every second, third, …"""
    height, width = run.trajectory.images.shape[1:3]
    return max(1, -(-max(int(height), int(width)) // _LARGEST))
