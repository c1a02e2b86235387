"""Writing trajectories so that a kill at any moment loses nothing that was committed.

The file is sized and allocated under a temporary name and renamed once complete; after that no metadata changes.
A commit writes the batch's data, flushes, then writes the samples' commit markers and flushes again: a marker never
speaks of data that is not there.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from emnist_diff import __version__
from emnist_diff.config import canonical_json, fingerprint
from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.lock import WriterLock
from emnist_diff.protocols import Field, RunHeader
from emnist_diff.trajectory.reader import Trajectory
from emnist_diff.trajectory.schema import FORMAT, FORMAT_VERSION, Array, arrays, component_path

SPARE = 1 << 20
"""Bytes asked for beside the arrays, for metadata and the file system's own."""

_ALREADY_THERE = "{} already exists — use --resume to continue it or --overwrite to replace it"
_COMMITTED_SAFE = "committed samples are safe; make room and use --resume, or choose another --output"


class TrajectoryWriter:
    """One open trajectory file of one run. Make it with `create` or `resume`."""

    def __init__(self, path: Path, file: Any, lock: WriterLock, layout: Sequence[Array], steps: int) -> None:
        self.path, self.steps = path, steps
        self._file, self._lock = file, lock
        self._arrays = {array.name: array for array in layout}

    @classmethod
    def create(
        cls, path: Path, header: RunHeader, fields: frozenset[Field], dtype: str = "float32", overwrite: bool = False
    ) -> TrajectoryWriter:
        """A new file for `header`'s run, every byte of it allocated.

        Raises `OutputError` when the file is there and `overwrite` is off, when another writer has it open, when the
        disk is too full, or when the directory cannot be written.
        """
        with _output_errors(path):
            if path.exists() and not overwrite:
                raise OutputError(_ALREADY_THERE.format(path))
            replaced = WriterLock(path) if path.is_file() else None
        try:
            cls._create(path, header, arrays(header, fields, dtype), overwrite)
        finally:
            if replaced is not None:
                replaced.release()
        return cls._open(path, header, fields, dtype)

    @staticmethod
    def _create(path: Path, header: RunHeader, layout: Sequence[Array], overwrite: bool) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with _output_errors(path, "make room, or choose another --output"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            needed, free = sum(a.size for a in layout) + SPARE, shutil.disk_usage(path.parent).free
            if needed > free:
                raise OutputError(
                    f"{path} needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free — record fewer fields, use "
                    "float16, or choose another --output"
                )
            try:
                _allocate(temporary, needed)  # HDF5 can crash on a disk that fills while it lays a file out
                with h5py.File(temporary, "w") as file:
                    _lay_out(file, header, layout)
                _allocate(temporary)
                _publish(temporary, path, overwrite)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    @classmethod
    def resume(
        cls, path: Path, header: RunHeader, fields: frozenset[Field], dtype: str = "float32"
    ) -> tuple[TrajectoryWriter, frozenset[int]]:
        """The file of an earlier run of the same configuration, and the positions of its committed samples.

        A file that is not there is created. Raises `TrajectoryError` when it is no trajectory or belongs to another
        run, naming what differs; `OutputError` when another writer has it open.
        """
        with _output_errors(path):
            there_is_one = path.exists()
        if not there_is_one:
            return cls.create(path, header, fields, dtype), frozenset()
        with Trajectory(path) as there:
            _check_same_run(path, there, header, arrays(header, fields, dtype))
        with _output_errors(path):
            _remove_leftovers(path)
        writer = cls._open(path, header, fields, dtype)
        # Read under the lock: until it was taken, another writer may have committed more.
        done = writer._file["samples/steps_done"][...]
        return writer, frozenset(int(p) for p in np.flatnonzero(done == writer.steps))

    @classmethod
    def _open(cls, path: Path, header: RunHeader, fields: frozenset[Field], dtype: str) -> TrajectoryWriter:
        with _output_errors(path):
            lock = WriterLock(path)
            try:
                # Our lock stands in for HDF5's own, which would refuse this process's readers too.
                file = h5py.File(path, "r+", locking=False)
            except BaseException:
                lock.release()
                raise
        return cls(path, file, lock, arrays(header, fields, dtype), len(header.timeline))

    def commit(self, positions: Sequence[int], data: Mapping[str, npt.NDArray[Any]]) -> None:
        """Make a batch durable.

        data: for each dataset of the layout, (B, …) rows of the samples at `positions`.
        Raises `OutputError` when the disk refuses or a value does not fit the dtype; earlier commits stay.
        `ValueError` when `data` is not exactly what the layout asks for: a marker must never speak of rows that
        nobody wrote.
        """
        rows = np.asarray(positions, dtype=np.int64)
        block = {name: self._fitted(name, values, len(rows)) for name, values in data.items()}
        if missing := sorted(self._arrays.keys() - block.keys()):
            raise ValueError(f"a commit lacks {', '.join(missing)}")
        with _output_errors(self.path, _COMMITTED_SAFE):
            for name, values in block.items():
                _write_rows(self._file[name], rows, values)
            self._file.flush()
            _write_rows(self._file["samples/steps_done"], rows, np.full(len(rows), self.steps, np.int64))
            self._file.flush()

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
        with _output_errors(self.path):
            if self._file and not self._file["samples/steps_done"][...].any():
                self.path.unlink(missing_ok=True)  # under the lock, so that it is nobody else's by now
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        try:
            if self._file:
                with _output_errors(self.path, _COMMITTED_SAFE):
                    self._file.close()
        finally:
            self._lock.release()


def _write_rows(dataset: Any, rows: npt.NDArray[np.intp], values: npt.NDArray[Any]) -> None:
    """Write (B, …) rows, as one block where they stand together."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        dataset[int(rows[0]) : int(rows[-1]) + 1] = values
    else:
        for row, value in zip(rows, values, strict=True):
            dataset[int(row)] = value


def _lay_out(file: Any, header: RunHeader, layout: Sequence[Array]) -> None:
    """All groups, attributes and datasets; bulk data allocated and not filled."""
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = np.array(FORMAT_VERSION, dtype=np.int64)
    file.attrs["creator"] = "emnist-diff"
    file.attrs["creator_version"] = __version__
    text = h5py.string_dtype("utf-8")
    for name, value in (("config", header.config), ("environment", header.environment)):
        file.create_dataset(name, data=canonical_json(value), dtype=text)
    file["config"].attrs["sha256"] = fingerprint(header.config)
    schedule = file.create_group("schedule")
    schedule["step"] = np.arange(len(header.timeline), dtype=np.int64)
    for name in ("timestep", "alpha_bar", "alpha_bar_next", "sigma"):
        schedule[name] = np.asarray(getattr(header.timeline, name), dtype=np.float64)
    schedule["evaluations"] = header.timeline.evaluations
    schedule.attrs["path"] = header.timeline.path
    samples = file.create_group("samples")
    samples["id"], samples["seed"], samples["label"] = header.sample_ids, header.seeds, header.labels
    samples["steps_done"] = np.zeros(len(header.sample_ids), dtype=np.int64)
    samples.create_dataset("classes", data=list(header.classes), dtype=text)
    for array in layout:
        group, _, name = array.name.rpartition("/")
        _create_contiguous(file.require_group(group) if group else file, name, array)
    for index, name in enumerate(header.forces):
        group = file.require_group(component_path("forces", index, name))
        group["weight"] = header.force_weights[index]
    for index, name in enumerate(header.drifts):
        file.require_group(component_path("drifts", index, name))
    file.create_group("plugins")


def _create_contiguous(group: Any, name: str, array: Array) -> None:
    """A contiguous dataset whose space is taken now, so that nothing but its bytes changes later."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(np.dtype(array.dtype), logical=True)
    properties.set_obj_track_times(False)  # a time stamp would make two equal runs differ
    h5py.h5d.create(group.id, name.encode(), kind, space, properties)


def _allocate(path: Path, size: int = 0) -> None:
    """Take the blocks of a file of `size` bytes, or as many as it has, from the disk now, not amid a run."""
    with path.open("ab") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size or os.fstat(file.fileno()).st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise  # a file system that cannot reserve space still gets its file
        os.fsync(file.fileno())


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give a complete file its name; without `overwrite` it takes nobody's place, not even one made just now."""
    if overwrite:
        os.replace(temporary, path)
    else:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise OutputError(_ALREADY_THERE.format(path)) from None
        except OSError:  # a file system without hard links
            os.replace(temporary, path)
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of runs that died while creating."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        owner = leftover.name.removesuffix(".tmp").rpartition(".")[2]
        if not (owner.isdigit() and _alive(int(owner))):
            leftover.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return process != os.getpid()


def _check_same_run(path: Path, there: Trajectory, header: RunHeader, layout: Sequence[Array]) -> None:
    """Raise `TrajectoryError` naming what differs between a file and the run that is to continue it."""
    if fingerprint(there.config) != fingerprint(header.config):
        keys = sorted(there.config.keys() | header.config.keys())
        odd = [k for k in keys if there.config.get(k) != header.config.get(k)]
        shown = "; ".join(f"{k}: {there.config.get(k)!r} there, {header.config.get(k)!r} here" for k in odd[:4])
        raise TrajectoryError(
            f"{path} belongs to another run ({shown}) — repeat that run's settings, or use --overwrite"
        )
    timeline = header.timeline
    for what, held, asked in (
        ("sample ids", there.ids, header.sample_ids),
        ("seeds", there.seeds, header.seeds),
        ("labels", there.labels, header.labels),
        ("class names", np.array(there.classes), np.array(header.classes)),
        ("timesteps", there.timestep, timeline.timestep),
        ("alpha_bar", there.alpha_bar, timeline.alpha_bar),
    ):
        if not np.array_equal(held, asked):
            raise TrajectoryError(
                f"{path} belongs to another run (other {what}: {_few(held)} there, {_few(asked)} here) — "
                "repeat that run's settings, or use --overwrite"
            )
    wanted = {array.name: (array.shape, array.dtype) for array in layout}
    stored = {name: (tuple(d.shape), str(d.dtype)) for name, d in there.datasets().items()}
    for name in sorted(wanted.keys() | stored.keys()):
        if stored.get(name) != wanted.get(name):
            raise TrajectoryError(
                f"{path} was recorded with other fields: {name} is {stored.get(name, 'missing')} there, "
                f"{wanted.get(name, 'not asked for')} here — repeat that run's sink settings, or use --overwrite"
            )
    packed = [name for name, dataset in there.datasets().items() if dataset.id.get_offset() is None]
    if packed and len(there.committed) < len(there):
        raise TrajectoryError(f"{path} is packed ({packed[0]} is not contiguous) and cannot be continued")


def _few(values: npt.NDArray[Any]) -> str:
    """The start of an array, on one line."""
    return f"{len(values)} × [{', '.join(map(str, values[:3].tolist()))}{', …' if len(values) > 3 else ''}]"


@contextmanager
def _output_errors(path: Path, way_out: str = "") -> Iterator[None]:
    """The operating system's refusals as `OutputError`s that name the file.

    HDF5 reports a write that fails while it flushes or closes as a RuntimeError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise OutputError(f"cannot write {path}: {_reason(error)}" + (f" — {way_out}" if way_out else "")) from error


def _reason(error: OSError | RuntimeError) -> str:
    """One line: the system's own words where HDF5 passes the error number on, HDF5's where it does not."""
    if match := re.search(r"errno = (\d+)", str(error)):
        return os.strerror(int(match[1]))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.splitlines()[0]
    return (str(error) or type(error).__name__).splitlines()[0]
