"""Writing trajectories so that a kill or a power cut at any moment loses nothing that was committed.

HDF5 lays the file out under a temporary name, sized and allocated, and has no more to do with it once it has its name:
after that no metadata changes, and rows are written to where they are in the file. A commit writes the batch's data,
waits until they are on the disk, then writes the samples' commit markers and waits again: a marker never speaks of
data that is not there, and whatever the system refuses ends the commit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff_trajectory.creation import create_contiguous, new_file, output_errors, take_space
from emnist_diff_trajectory.device import building
from emnist_diff_trajectory.extend import extend, grown_environment, smaller
from emnist_diff_trajectory.growth import grows
from emnist_diff_trajectory.lock import WriterLock
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.rows import Place, RowFile
from emnist_diff_trajectory.same_run import require_same_run
from emnist_diff_trajectory.sample_ids import MOST_SAMPLES
from emnist_diff_trajectory.schema import (
    MARKERS,
    MOST_STEPS,
    Array,
    Capture,
    Description,
    arrays,
    lay_out,
    planned,
)
from emnist_diff_trajectory.temporary import remove_leftovers

_EVERYTHING = Capture()

_COMMITTED_SAFE = "committed samples are safe; {remedy} and use --resume, or choose another --output"


class TrajectoryWriter:
    """One open trajectory file of one run. Make it with `create` or `resume`."""

    def __init__(self, path: Path, rows: RowFile, lock: WriterLock, header: RunHeader, capture: Capture) -> None:
        self.path, self.steps = path, len(header.timeline)
        self._file, self._lock, self._fsync = rows, lock, header.fsync
        self._arrays = {array.name: array for array in arrays(header, capture)}
        self._rows = {position: row for row, position in enumerate(capture.positions(header).tolist())}
        self._unsynced: list[npt.NDArray[np.int64]] = []
        """Positions that this writer has marked, of which nobody knows whether they are on the disk."""
        self._closed = False

    @classmethod
    def create(
        cls, path: Path, header: RunHeader, capture: Capture = _EVERYTHING, overwrite: bool = False
    ) -> TrajectoryWriter:
        """A new file for `header`'s run, every byte of it allocated.

        Raises `OutputError` for more samples or steps than a reader accepts, when the file is there and `overwrite` is
        off, when another writer has it open, when the disk is too full, or when the directory cannot be written.
        """
        _check_size(path, header)
        layout = arrays(header, capture)
        with ExitStack() as held:
            with new_file(path, planned(header, capture), overwrite) as temporary:
                with building(temporary) as (file, _):
                    _lay_out(file, header, capture, layout)
                    places = _places({array.name: file[array.name] for array in layout}, file[MARKERS])
                with output_errors(path):
                    lock = WriterLock(temporary)  # before it has its name, so that nobody comes in between
                held.callback(lock.release)
            with output_errors(path):
                rows = RowFile(path, places)
            held.pop_all()
        return cls(path, rows, lock, header, capture)

    @classmethod
    def resume(
        cls, path: Path, header: RunHeader, capture: Capture = _EVERYTHING
    ) -> tuple[TrajectoryWriter, frozenset[int]]:
        """The file of an earlier run of the same configuration, and the positions of its committed samples.

        A file that is not there is created; one of the same run with fewer samples is made anew with room for all, see
        `extend.extend`. Raises `TrajectoryError` when it is no trajectory or belongs to another
        run, naming what differs; `OutputError` when another writer has it open.
        """
        with output_errors(path):
            before = path.stat() if path.exists() else None
        if before is None:
            return cls.create(path, header, capture), frozenset()
        with Trajectory(path) as existing:
            if grows(existing.config, header.config):
                require_same_run(path, existing, smaller(header, existing), capture)
                _grow(path, existing, before, header, capture)
                return cls.resume(path, header, capture)
            require_same_run(path, existing, header, capture)
            with output_errors(path), ExitStack() as held:
                lock = WriterLock(path)
                held.callback(lock.release)
                if not os.path.samestat(before, path.stat()):
                    raise OutputError(f"{path} was replaced by another run just now — repeat the command")
                remove_leftovers(path)
                rows = RowFile(path, _places(existing.datasets(), existing.field(MARKERS)))
                held.pop_all()
            # Read under the lock: until it was taken, another writer may have committed more.
            committed = existing.committed
        return cls(path, rows, lock, header, capture), frozenset(committed)

    def kept(self, positions: Sequence[int]) -> list[int]:
        """Which of a batch's samples, by their place in the batch, have their states kept."""
        return [place for place, position in enumerate(positions) if position in self._rows]

    def nothing(self) -> dict[str, npt.NDArray[Any]]:
        """No rows of states, for `commit` of a batch in which no sample's are kept."""
        return {n: np.empty((0, *a.shape[1:]), a.dtype) for n, a in self._arrays.items() if n != "images"}

    def commit(self, positions: Sequence[int], data: Mapping[str, npt.NDArray[Any]]) -> None:
        """Make a batch durable.

        data: images, (B, …), and for each dataset of states the rows of those samples at `positions` whose states are
        kept, in this order.
        Raises `OutputError` when the disk refuses or a value does not fit the dtype; earlier commits stay.
        `ValueError` when `data` is not exactly what the layout asks for: a marker must never speak of rows that
        nobody wrote.
        """
        samples = np.asarray(positions, dtype=np.int64)
        rows = np.array([self._rows[positions[place]] for place in self.kept(positions)], dtype=np.int64)
        block = {name: self._fitted(name, v, len(samples if name == "images" else rows)) for name, v in data.items()}
        if missing := sorted(self._arrays.keys() - block.keys()):
            raise ValueError(f"a commit lacks {', '.join(missing)}")
        with output_errors(self.path, _COMMITTED_SAFE):
            for name, values in block.items():
                self._file.write(name, samples if name == "images" else rows, values)
            if self._fsync:
                self._file.sync()
            self._mark(samples)

    def _mark(self, samples: npt.NDArray[np.int64]) -> None:
        """Say that samples, whose data are there, are committed. When that is refused, they are not."""
        try:
            self._file.write(MARKERS, samples, np.full(len(samples), self.steps, np.int64))
        except BaseException:
            self._unmark([samples])
            raise
        self._unsynced.append(samples)
        if self._fsync:
            self._sync()

    def _sync(self) -> None:
        """Wait for the disk. When it refuses, what it was not known to have is not marked any more."""
        unsynced, self._unsynced = self._unsynced, []
        try:
            if unsynced:
                self._file.sync()
        except BaseException:
            self._unmark(unsynced)
            raise

    def _unmark(self, marked: Sequence[npt.NDArray[np.int64]]) -> None:
        """Take marks back, as far as the system lets us."""
        for samples in marked:
            with suppress(OSError):
                self._file.write(MARKERS, samples, np.zeros(len(samples), np.int64))

    def _fitted(self, name: str, values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
        """Rows in the dtype of their dataset."""
        if name not in self._arrays:
            raise ValueError(f"a commit holds {name}, which the file does not")
        array = self._arrays[name]
        if values.shape != (count, *array.shape[1:]):
            raise ValueError(f"{name} has rows {values.shape}, not {(count, *array.shape[1:])}")
        with np.errstate(over="ignore"):
            fitted = values.astype(array.dtype, copy=False)
        if array.dtype == "float16" and np.isinf(fitted).any():
            raise OutputError(f"cannot write {self.path}: {name} holds values beyond float16 — record float32")
        return fitted

    def discard(self) -> None:
        """Close the file, and remove it if no sample was ever committed to it."""
        with output_errors(self.path):
            if not self._closed and MARKERS in self._file.names and not self._file.read(MARKERS).any():
                self.path.unlink(missing_ok=True)  # under the lock, so that it is nobody else's by now
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice.

        Where commits did not wait for the disk, this does. Raises `OutputError` when the disk has not taken them all;
        then none of them is marked any more.
        """
        if self._closed:
            return
        self._closed = True
        try:
            with output_errors(self.path, _COMMITTED_SAFE):
                self._sync()
        finally:
            self._file.close()
            self._lock.release()


def _places(datasets: Mapping[str, Any], markers: Any) -> dict[str, Place]:
    """Where the datasets that a commit writes are in the file; a packed one is nowhere, and has all its samples."""
    found = {name: Place.of(dataset) for name, dataset in {**datasets, MARKERS: markers}.items()}
    return {name: place for name, place in found.items() if place is not None}


def _grow(path: Path, existing: Trajectory, before: os.stat_result, header: RunHeader, capture: Capture) -> None:
    """Replace a file of the same run with fewer samples by one for all of them."""
    _check_size(path, header)
    header = attrs.evolve(header, environment=grown_environment(existing.environment, header.environment))
    layout = arrays(header, capture)
    extend(path, existing, before, partial(_lay_out, header=header, capture=capture, layout=layout), layout)


def _check_size(path: Path, header: RunHeader) -> None:
    """Raise `OutputError` for more samples or steps than a reader accepts."""
    for what, count, most in (
        ("samples", len(header.sample_ids), MOST_SAMPLES),
        ("steps", len(header.timeline), MOST_STEPS),
    ):
        if count > most:
            raise OutputError(f"{path} would hold {count} {what}, a file holds at most {most} — make several runs")


def _lay_out(file: Any, header: RunHeader, capture: Capture, layout: Sequence[Array]) -> None:
    """All groups, attributes and datasets; bulk data allocated and not filled, behind all else."""
    for array in layout:
        group, _, name = array.name.rpartition("/")
        create_contiguous(file.require_group(group) if group else file, name, array)
    lay_out(file, Description.of_run(header, capture))
    for array in layout:
        take_space(file[array.name])
