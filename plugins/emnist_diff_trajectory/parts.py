"""Samples of existing files that a new file is made of, and where their rows go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff_trajectory.merged import Source
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array
from emnist_diff_trajectory.structure import require_sound

BLOCK = 1 << 25
"""Bytes that are held at once."""


@attrs.frozen(eq=False)
class Part:
    """Samples of one file: at `positions` in it, to stand at `places` in the new one; both rise.

    The file need not be open: what is kept of it here is enough to lay the new one out. Make it with `of`.

    holding: the trajectory, open within a block.  kept, done: of which of the samples the states are kept, and which
    are committed.  states: rows of the kept ones in the file's datasets of states.  samples: ids, seeds, labels and
    markers.  layout: shape in the file, and dtype, of each dataset of states and of the images.
    carries: whether it may hold more, such as data of plugins.
    """

    path: Path
    holding: Callable[[], AbstractContextManager[Trajectory]]
    positions: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    kept: npt.NDArray[np.bool_]
    done: npt.NDArray[np.bool_]
    states: npt.NDArray[np.int64]
    samples: Mapping[str, npt.NDArray[Any]]
    layout: Mapping[str, Array]
    sources: tuple[Source, ...]
    carries: bool

    @classmethod
    def of(
        cls,
        trajectory: Trajectory,
        positions: npt.NDArray[np.int64] | None = None,
        places: npt.NDArray[np.int64] | None = None,
        holding: Callable[[], AbstractContextManager[Trajectory]] | None = None,
    ) -> Part:
        """positions: all when left out.  places: in their order, when left out.  holding: how to open it again; when
        left out it stays open as long as the part is used. Raises `TrajectoryError` when the file is damaged."""
        require_sound(trajectory)
        chosen = np.arange(len(trajectory), dtype=np.int64) if positions is None else positions
        kept = np.isin(chosen, trajectory.kept_samples)
        marks = trajectory.steps_done[chosen]
        lists = {"id": trajectory.ids, "seed": trajectory.seeds, "label": trajectory.labels}
        return cls(
            trajectory.path,
            holding or (lambda: nullcontext(trajectory)),
            chosen,
            np.arange(len(chosen), dtype=np.int64) if places is None else places,
            kept,
            marks == trajectory.steps,
            np.searchsorted(trajectory.kept_samples, chosen[kept]),
            {**{name: values[chosen] for name, values in lists.items()}, "steps_done": marks},
            {name: Array(name, tuple(d.shape), str(d.dtype)) for name, d in trajectory.datasets().items()},
            trajectory.sources,
            bool(trajectory.sources or trajectory.extras),
        )

    @property
    def is_whole(self) -> bool:
        """Whether all samples of the file go along."""
        return len(self.positions) == self.layout["images"].shape[0]


@attrs.frozen(eq=False)
class Rows:
    """Rows of one dataset of one file: at `old` in it, and at `new` in the file that is made."""

    part: Part
    name: str
    old: npt.NDArray[np.int64]
    new: npt.NDArray[np.int64]
    committed: npt.NDArray[np.bool_]


def plan(parts: Sequence[Part]) -> tuple[list[Array], list[Rows]]:
    """The datasets of the new file, and where their rows come from, file by file."""
    total = sum(len(part.places) for part in parts)
    chosen = np.sort(np.concatenate([part.places[part.kept] for part in parts]))
    layout: dict[str, Array] = {}
    rows: list[Rows] = []
    for part in parts:
        states = np.searchsorted(chosen, part.places[part.kept])
        for name, array in part.layout.items():
            if name == "images":
                piece, count = Rows(part, name, part.positions, part.places, part.done), total
            else:
                piece, count = Rows(part, name, part.states, states, part.done[part.kept]), len(chosen)
            if count:
                layout.setdefault(name, Array(name, (count, *array.shape[1:]), array.dtype))
                rows.append(piece)
    return list(layout.values()), rows


def read(rows: Rows, old: tuple[slice, ...]) -> npt.NDArray[Any]:
    with rows.part.holding() as trajectory, reading(trajectory.path):
        return np.asarray(trajectory.field(rows.name)[old])


def blocks(rows: Rows) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Where committed rows are and go, in blocks of at most `BLOCK` bytes where a step is not larger."""
    array = rows.part.layout[rows.name]
    shape, width = array.shape, np.dtype(array.dtype).itemsize
    row = max(1, int(np.prod(shape[1:], dtype=np.int64)) * width)
    columns = max(1, shape[1] * BLOCK // row) if row > BLOCK else shape[1]
    for first, last in _runs(rows, max(1, BLOCK // row)):
        old, new = int(rows.old[first]), int(rows.new[first])
        count = last - first
        for column in range(0, shape[1], columns):
            part = slice(column, min(column + columns, shape[1]))
            yield (slice(old, old + count), part), (slice(new, new + count), part)


def _runs(rows: Rows, most: int) -> Iterator[tuple[int, int]]:
    """Stretches of at most `most` committed rows that stand together here and there."""
    first = 0
    while first < len(rows.old):
        if not rows.committed[first]:
            first += 1
            continue
        last = first + 1
        while (
            last < len(rows.old)
            and last - first < most
            and rows.committed[last]
            and rows.old[last] - rows.old[first] == rows.new[last] - rows.new[first] == last - first
        ):
            last += 1
        yield first, last
        first = last
