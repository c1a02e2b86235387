"""Rows of a laid-out trajectory file, written past HDF5, whose buffers would hide what the system refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff_trajectory.files import sync_file, write_at
from emnist_diff_trajectory.states import Values


@attrs.frozen
class Place:
    """Where a contiguous dataset's rows are in the file.

    offset: of the first byte.  count: of rows.  shape, dtype: of a row; the dtype has the file's byte order.
    """

    offset: int
    count: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, dataset: Any) -> Place | None:
        """Where a dataset, of h5py or of `states`, is; None where its bytes do not stand together, or are not there
        yet."""
        offset = dataset.offset() if isinstance(dataset, Values) else dataset.id.get_offset()
        if offset is None or not dataset.ndim:
            return None
        return cls(offset, dataset.shape[0], tuple(dataset.shape[1:]), dataset.dtype)

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class RowFile:
    """A file open for its rows alone; what the system refuses is an `OSError` of the call that asked for it."""

    def __init__(self, path: Path, places: Mapping[str, Place]) -> None:
        """places: of the datasets that are written, by name."""
        self._places = dict(places)
        self._file = open(path, "r+b", buffering=0)  # noqa: SIM115  # until close

    @property
    def names(self) -> frozenset[str]:
        """The datasets that can be written."""
        return frozenset(self._places)

    def write(self, name: str, rows: npt.NDArray[np.int64], values: npt.NDArray[Any]) -> None:
        """Write (B, …) values as these rows of a dataset; rows that stand together, in one piece."""
        place = self._places[name]
        if values.shape != (len(rows), *place.shape) or (len(rows) and not 0 <= min(rows) <= max(rows) < place.count):
            raise ValueError(f"{name} has {place.count} rows {place.shape}; got {values.shape} for rows {rows[:4]}")
        values = np.ascontiguousarray(values, dtype=place.dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for first, last in zip(starts, [*starts[1:], len(rows)], strict=False):  # no start, and one end, of no rows
            write_at(self._file, place.offset + int(rows[first]) * place.stride, _bytes(values[first:last]))

    def read(self, name: str) -> npt.NDArray[Any]:
        """All rows of a dataset, as the file has them now."""
        place = self._places[name]
        data = np.empty((place.count, *place.shape), place.dtype)
        left = memoryview(_bytes(data))
        self._file.seek(place.offset)
        while left:
            taken = self._file.readinto(left)
            if not taken:
                raise OSError(f"the file ends within {name}")
            left = left[taken:]
        return data

    def sync(self) -> None:
        """Return when all that was written is on the disk."""
        sync_file(self._file)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()


def _bytes(values: npt.NDArray[Any]) -> Any:
    """The bytes of a contiguous array, which are not copied."""
    return values.reshape(-1).view(np.uint8).data
