"""Datasets of a trajectory: arrays that are read as they are indexed, wherever their rows are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError

if TYPE_CHECKING:
    from emnist_diff_trajectory.tree import Tree


class Values:
    """A dataset of an open trajectory: numpy's ``shape``, ``dtype``, ``ndim``, ``size``, and values read as sliced.

    Index it as an h5py dataset: numbers, slices, a list of rising rows, an ellipsis. `numpy.asarray` reads all of it.
    Whatever reads raises `TrajectoryError` once the trajectory is closed, and where the file is damaged.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stored: str
    """``contiguous``, ``chunked``, or ``virtual``: in the files that an index of merged files points to."""

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values in memory."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """The shape of a chunk of a packed dataset, None for any other."""
        return None

    def stored_bytes(self) -> int:
        """Bytes that the values take in their file, after compression."""
        return self.nbytes

    def offset(self) -> int | None:
        """Where in the file a contiguous dataset begins, None for any other."""
        return None

    def _read(self, key: Any) -> Any:
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        return self._read(key)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError(f"{self.name} is in a file, not in memory — use Trajectory.mmap, or copy")
        return np.asarray(self[...], dtype=dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"{self.name} has no axes, and so no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        return f"<{self.name}: {self.dtype} {'×'.join(map(str, self.shape)) or 'scalar'}, {self.stored}>"


class Stored(Values):
    """A dataset of one file."""

    def __init__(self, name: str, tree: Tree) -> None:
        dataset = tree.dataset(name)
        self.name, self.shape, self.dtype = name, tuple(dataset.shape), dataset.dtype
        self._tree, self._chunks = tree, dataset.chunks
        self.stored = "contiguous" if self._chunks is None else "chunked"

    @property
    def chunks(self) -> tuple[int, ...] | None:
        return None if self._chunks is None else tuple(self._chunks)

    def stored_bytes(self) -> int:
        return int(self._tree.dataset(self.name).id.get_storage_size())

    def offset(self) -> int | None:
        found = self._tree.dataset(self.name).id.get_offset()
        return None if found is None else int(found)

    def _read(self, key: Any) -> Any:
        return self._tree.dataset(self.name)[key]


@attrs.frozen(eq=False)
class Piece:
    """Rows of a spread dataset that are in one file: `rows` of the index, `inside` of the file; both rise."""

    path: Path
    rows: npt.NDArray[np.int64]
    inside: npt.NDArray[np.int64]


class Spread(Values):
    """A dataset whose rows are in the files that an index points to, and are read from these, never through HDF5's own
    mapping: for a file that it cannot open HDF5 gives zeros or NaN without a word."""

    stored = "virtual"

    def __init__(
        self,
        name: str,
        like: Values,
        pieces: Sequence[Piece],
        holding: Callable[[Path], AbstractContextManager[Any]],
    ) -> None:
        """like: shape and dtype.  pieces: where the rows are; rows that are in none cannot be read.
        holding: the trajectory of a path, open within the block; raises `TrajectoryError`."""
        self.name, self.shape, self.dtype = name, like.shape, like.dtype
        self._pieces, self._holding = pieces, holding
        self._of = np.full(self.shape[0], -1, np.int64)
        self._inside = np.zeros(self.shape[0], np.int64)
        for number, piece in enumerate(pieces):
            self._of[piece.rows] = number
            self._inside[piece.rows] = piece.inside

    @property
    def files(self) -> npt.NDArray[Any]:
        """(rows,) the name of the file that each row is in."""
        return np.array([piece.path.name for piece in self._pieces], object)[self._of]

    @property
    def inside(self) -> npt.NDArray[np.int64]:
        """(rows,) the row in that file."""
        return self._inside

    def _read(self, key: Any) -> Any:
        first, rest = _first_axis(key, self.ndim)
        try:
            rows = np.arange(len(self))[first]
        except IndexError as error:
            raise IndexError(f"{self.name} has {len(self)} rows: {error}") from error
        if rows.ndim > 1:
            raise TypeError(f"{self.name} is indexed by numbers, slices and one list of rows")
        if rows.ndim == 0:
            return self._rows(np.atleast_1d(rows), rest)[0]
        return self._rows(rows, rest)

    def _rows(self, rows: npt.NDArray[np.int64], rest: tuple[Any, ...]) -> npt.NDArray[Any]:
        """Rows in this order, file after file."""
        numbers = self._of[rows]
        if (numbers < 0).any():
            raise TrajectoryError(f"row {int(rows[numbers < 0][0])} of {self.name} is in none of its files")
        whole = (slice(None), *rest)
        like = np.broadcast_to(np.empty((), self.dtype), (1, *self.shape[1:]))  # takes no room
        out = np.empty((len(rows), *like[whole].shape[1:]), self.dtype)
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            with self._holding(self._pieces[int(number)].path) as file:
                out[places] = _rows_of(file.field(self.name), self._inside[rows[places]], rest)
        return out


def _first_axis(key: Any, ndim: int) -> tuple[Any, tuple[Any, ...]]:
    """The key of the first axis, and those of the others."""
    parts = key if isinstance(key, tuple) else (key,)
    if not parts or parts[0] is Ellipsis:
        # an ellipsis stands for the axes that nothing else names
        free = ndim - (len(parts) - 1 if parts else 0)
        return slice(None), (slice(None),) * max(0, free - 1) + tuple(parts[1:])
    return parts[0], tuple(parts[1:])


def _rows_of(dataset: Any, rows: npt.NDArray[np.int64], rest: tuple[Any, ...]) -> npt.NDArray[Any]:
    """Rows of one dataset: at once where they are evenly spaced, one by one where they are not."""
    steps = np.diff(rows)
    if len(rows) > 1 and steps[0] > 0 and (steps == steps[0]).all():
        evenly: tuple[Any, ...] = (slice(int(rows[0]), int(rows[-1]) + 1, int(steps[0])), *rest)
        return np.asarray(dataset[evenly])
    keys: list[tuple[Any, ...]] = [(int(row), *rest) for row in rows]
    return np.stack([np.asarray(dataset[key]) for key in keys])
