"""Opening HDF5 files of unknown origin, and the limits within which their datasets are read."""

from __future__ import annotations

import errno
import importlib
import math
import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import h5py

from emnist_diff.errors import TrajectoryError, blame

MOST_CHUNK = 1 << 26
"""Bytes of a chunk; HDF5 takes them whole into memory for a single value."""
MOST_TEXT = 1 << 24
"""Bytes of a value, or of a text."""
MOST_ATTRIBUTE = 1 << 12
"""Bytes of an attribute that is read."""
MOST_SMALL_CHUNKS, SMALL_CHUNK = 1 << 12, 1 << 12
"""A dataset has no more chunks than this, unless they hold as many bytes each: HDF5 spends some kilobytes on each that
is read, however little is in it."""
MOST_RATIO, FREE_CLAIM = 1 << 15, 1 << 20
"""A dataset claims at most so many times the bytes that are stored of it, and bytes that may be claimed whatever is
stored. Zstandard, the tightest of the usual filters, packs 128 KiB of one value into 4 bytes: the contribution of a
force that rests is such data."""


def open_file(path: Path) -> Any:
    """The HDF5 file, or one line on why there is none."""
    try:
        if path.is_dir():
            inside = path / "trajectory.h5"
            hint = f" — did you mean {str(inside)!r}?" if inside.is_file() else " — name the file"
            raise TrajectoryError(f"{str(path)!r} is a directory{hint}")
        if not path.exists():
            raise TrajectoryError(f"trajectory file {str(path)!r} does not exist")
        if not path.is_file():
            raise TrajectoryError(f"{str(path)!r} is no regular file")
        if path.stat().st_size == 0:
            raise TrajectoryError(f"{str(path)!r} is no HDF5 file, or is truncated: it is empty")
        with path.open("rb"):
            pass  # the system's own words for what it refuses
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrajectoryError(f"{str(path)!r} cannot be read: {reason}{_more_files(error)}") from error
    try:
        return _open_beside_writer(path)
    except Exception as error:
        if _more_files(error):
            raise TrajectoryError(f"{str(path)!r} cannot be read: too many open files{_more_files(error)}") from error
        raise TrajectoryError(f"{str(path)!r} is no HDF5 file, or is truncated: {one_line(error)}") from error


def _more_files(error: Exception) -> str:
    """The way out for a process that may open no more files."""
    full = isinstance(error, OSError) and (error.errno == errno.EMFILE or f"errno = {errno.EMFILE}," in str(error))
    return " — the process may open no more; raise its limit (ulimit -n)" if full else ""


def most_open_files() -> int:
    """How many files a reader of many keeps open: an eighth of what the process may open, 2 … 64."""
    try:
        import resource  # is not on every system
    except ImportError:
        return 64
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 64 if soft < 0 else max(2, min(64, soft // 8))


def _open_beside_writer(path: Path) -> Any:
    """A reader beside a writer sees committed samples; the file's own lock would keep it out."""
    try:
        return _open_fresh(path, locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return _open_fresh(path, locking=True)  # open in this process under that lock, and HDF5 wants one kind in each


def _open_fresh(path: Path, locking: bool) -> Any:
    """The file, without the buffer in which HDF5 would keep bytes that a writer has changed since."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_sieve_buf_size(0)
    if not locking:
        access.set_file_locking(False, True)
    return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, access))


def reading(path: Path) -> AbstractContextManager[None]:
    """What HDF5 raises for the values of a damaged file, which may be anything, as a `TrajectoryError`."""
    return blame(TrajectoryError, lambda error: f"{path} is damaged: {one_line(error)}")


def one_line(error: BaseException) -> str:
    """An error of HDF5 or Python in a line of bounded length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def checked(path: Path, name: str, dataset: Any) -> Any:
    """A dataset that can be read without harm: its bytes are inside the file, its chunks fit into memory.

    Raises `TrajectoryError`.
    """
    if dataset.external:
        raise TrajectoryError(f"{path}: {name} keeps its data in another file, which is not followed")
    if dataset.shape is None:
        raise TrajectoryError(f"{path} is damaged: {name} is empty")
    _ = dataset.dtype  # h5py refuses here a type that numpy has no like of
    width = dataset.id.get_type().get_size()
    if width > MOST_TEXT:
        raise TrajectoryError(f"{path} is damaged: the values of {name} claim {width} bytes each")
    offset, size = dataset.id.get_offset(), dataset.size * width
    if offset is not None and offset + size > path.stat().st_size:
        raise TrajectoryError(f"{path} is truncated: the data of {name} is not all there")
    if dataset.chunks is not None:
        _check_chunks(path, name, dataset, width)
        _check_filters(path, name, dataset.id.get_create_plist())
    if not dataset.is_virtual and size > FREE_CLAIM:
        stored = dataset.id.get_storage_size()
        if size > MOST_RATIO * stored:
            raise TrajectoryError(f"{path} is damaged: {name} claims {size} bytes, of which {stored} are stored")
    return dataset


def _check_chunks(path: Path, name: str, dataset: Any, width: int) -> None:
    """Raise `TrajectoryError` for chunks that are too large, or too small for their number."""
    room = math.prod(dataset.chunks) * width
    if room > MOST_CHUNK:
        raise TrajectoryError(f"{path} is damaged: the chunks of {name} claim {dataset.chunks} values each")
    count = math.prod(-(-length // chunk) for length, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if count > MOST_SMALL_CHUNKS and room < SMALL_CHUNK:
        raise TrajectoryError(f"{path} is damaged: {name} is stored in {count} chunks of {room} bytes")


def _check_filters(path: Path, name: str, properties: Any) -> None:
    """Raise `TrajectoryError` when the data was packed with a filter that is not there."""
    for number in range(properties.get_nfilters()):
        code = properties.get_filter(number)[0]
        if not h5py.h5z.filter_avail(code):
            with suppress(ImportError):
                importlib.import_module("hdf5plugin")  # registers its filters
        if not h5py.h5z.filter_avail(code):
            raise TrajectoryError(
                f"{path}: {name} is packed with HDF5 filter {code}, which is not there — "
                "pip install 'emnist-diff[pack]'"
            )
