"""Writing trajectories so that a kill at any moment loses nothing that was committed.

The file is sized and allocated under a temporary name and renamed once complete; after that no metadata changes.
A commit writes the batch's data, flushes, then writes the samples' commit markers and flushes again: a marker never
speaks of data that is not there.
"""

from __future__ import annotations

import os
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
from emnist_diff.protocols import Field, RunHeader
from emnist_diff.trajectory.reader import Trajectory
from emnist_diff.trajectory.schema import FORMAT, FORMAT_VERSION, Array, arrays, component_path

SPARE = 1 << 20
"""Bytes asked for beside the arrays, for metadata and the file system's own."""


class TrajectoryWriter:
    """One open trajectory file of one run. Make it with `create` or `resume`."""

    def __init__(self, path: Path, file: Any, layout: Sequence[Array], steps: int) -> None:
        self.path, self.steps = path, steps
        self._file = file
        self._arrays = {array.name: array for array in layout}

    @classmethod
    def create(
        cls, path: Path, header: RunHeader, fields: frozenset[Field], dtype: str = "float32", overwrite: bool = False
    ) -> TrajectoryWriter:
        """A new file for `header`'s run, every byte of it allocated.

        Raises `OutputError` when the file is there and `overwrite` is off, when the disk is too full, or when the
        directory cannot be written.
        """
        if path.exists() and not overwrite:
            raise OutputError(f"{path} already exists — use --resume to continue it or --overwrite to replace it")
        layout = arrays(header, fields, dtype)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with _output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            needed, free = sum(a.size for a in layout) + SPARE, shutil.disk_usage(path.parent).free
            if needed > free:
                raise OutputError(
                    f"{path} needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free — record fewer fields, use "
                    "float16, or choose another --output"
                )
            try:
                with h5py.File(temporary, "w") as file:
                    _lay_out(file, header, layout)
                _allocate(temporary)
                os.replace(temporary, path)
                _sync_directory(path.parent)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return cls._open(path, layout, len(header.timeline))

    @classmethod
    def resume(
        cls, path: Path, header: RunHeader, fields: frozenset[Field], dtype: str = "float32"
    ) -> tuple[TrajectoryWriter, frozenset[int]]:
        """The file of an earlier run of the same configuration, and the positions of its committed samples.

        A file that is not there is created. Raises `TrajectoryError` when it is no trajectory or belongs to another
        run, naming what differs.
        """
        if not path.exists():
            return cls.create(path, header, fields, dtype), frozenset()
        layout = arrays(header, fields, dtype)
        with Trajectory(path) as there:
            _check_same_run(path, there, header, layout)
            committed = frozenset(there.committed)
        return cls._open(path, layout, len(header.timeline)), committed

    @classmethod
    def _open(cls, path: Path, layout: Sequence[Array], steps: int) -> TrajectoryWriter:
        try:
            return cls(path, h5py.File(path, "r+"), layout, steps)
        except BlockingIOError as error:
            raise OutputError(f"{path} is being written by another process — wait for it, or stop it") from error
        except OSError as error:
            raise OutputError(f"cannot open {path} for writing: {_reason(error)}") from error

    def commit(self, positions: Sequence[int], data: Mapping[str, npt.NDArray[Any]]) -> None:
        """Make a batch durable.

        data: for each dataset of the layout, (B, …) rows of the samples at `positions`.
        Raises `OutputError` when the disk refuses; earlier commits stay.
        """
        rows = np.asarray(positions)
        with _output_errors(self.path):
            for name, values in data.items():
                _write_rows(self._file[name], rows, values.astype(self._arrays[name].dtype, copy=False))
            self._flush()
            _write_rows(self._file["samples/steps_done"], rows, np.full(len(rows), self.steps, np.int64))
            self._flush()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._file:
            with _output_errors(self.path):
                self._file.close()

    def _flush(self) -> None:
        self._file.flush()


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
    h5py.h5d.create(group.id, name.encode(), kind, space, properties)


def _allocate(path: Path) -> None:
    """Take the file's blocks from the disk now, so that a full disk shows before any work is done."""
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            size = os.fstat(file.fileno()).st_size
            if size:
                os.posix_fallocate(file.fileno(), 0, size)
        os.fsync(file.fileno())


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
    if fingerprint(there.config) != fingerprint(header.config):
        keys = sorted(there.config.keys() | header.config.keys())
        odd = [k for k in keys if there.config.get(k) != header.config.get(k)]
        shown = "; ".join(f"{k}: {there.config.get(k)!r} there, {header.config.get(k)!r} here" for k in odd[:4])
        raise TrajectoryError(
            f"{path} belongs to another run ({shown}) — repeat that run's settings, or use --overwrite"
        )
    held = {name: (tuple(d.shape), str(d.dtype)) for name, d in there.datasets().items()}
    for array in layout:
        if held.get(array.name) != (array.shape, array.dtype):
            raise TrajectoryError(
                f"{path} was recorded with other fields: {array.name} is {held.get(array.name, 'missing')} there, "
                f"{(array.shape, array.dtype)} here — repeat that run's sink settings, or use --overwrite"
            )


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """The operating system's refusals as `OutputError`s that name the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {_reason(error)} — committed samples are safe; make room or choose another --output"
        ) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error).splitlines()[0]
