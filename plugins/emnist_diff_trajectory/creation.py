"""Files that get their name only once they are whole, and whose every byte is allocated by then."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emnist_diff.errors import OutputError
from emnist_diff_trajectory.files import make_folder, sync_file, sync_folder
from emnist_diff_trajectory.lock import WriterLock
from emnist_diff_trajectory.occupied import RESUME_OR_REPLACE, occupied
from emnist_diff_trajectory.schema import Array
from emnist_diff_trajectory.temporary import remove_leftovers, temporary_name

SPARE = 1 << 20
"""Bytes asked for beside the arrays, for metadata and the file system's own."""
_REMEDIES = {
    errno.EIO: "check the disk",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.ENOSPC: "make room",
    getattr(errno, "EDQUOT", errno.ENOSPC): "make room",
}
"""What helps against what the system refuses."""


@contextmanager
def new_file(path: Path, layout: Sequence[Array], overwrite: bool, advice: str = RESUME_OR_REPLACE) -> Iterator[Path]:
    """A temporary name in the directory of `path`, for a file that holds these arrays; what stands under it when the
    block ends becomes `path`, at once and durably.

    advice: what to do about a file that exists already and is not to be replaced.
    Raises `OutputError` for that, when another writer has it open, when the disk is too full, or when the directory
    cannot be written. Then, and when the block raises, nothing has changed.
    """
    with output_errors(path):
        if path.exists() and not overwrite:
            raise occupied(path, advice)
        replaced = WriterLock(path) if path.is_file() else None
    temporary = temporary_name(path)
    try:
        with output_errors(path, "{remedy}, or choose another --output"):
            make_folder(path.parent)
            remove_leftovers(path)
            needed = need_room(path, layout)
            try:
                allocate(temporary, needed)
                yield temporary
                allocate(temporary)
                publish(temporary, path, overwrite, advice)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    finally:
        if replaced is not None:
            replaced.release()


def require_unread(path: Path, read: Iterable[Path]) -> None:
    """Raise `OutputError` when `path`, under whatever name, is one of the files that are read."""
    for source in read:
        with output_errors(path):
            same = path.exists() and source.exists() and path.samefile(source)
        if same:
            raise OutputError(f"{path} is what is read, and is not replaced — name another file")


def need_room(path: Path, layout: Sequence[Array]) -> int:
    """Bytes that a file of these arrays needs. Raises `OutputError` when its disk has fewer."""
    needed, free = sum(a.size for a in layout) + SPARE, shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(
            f"{path} needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free — make room, choose "
            "another --output, or record less (fewer fields, float16)"
        )
    return needed


def create_contiguous(group: Any, name: str, array: Array) -> None:
    """A contiguous dataset, of which there is no more than the description until `take_space`."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(np.dtype(array.dtype), logical=True)
    properties.set_obj_track_times(False)  # a time stamp would make two equal runs differ
    h5py.h5d.create(group.id, name.encode(), kind, space, properties)


def take_space(dataset: Any) -> None:
    """Take the space of a contiguous dataset, so that nothing but its bytes changes later: HDF5 does at the first value
    that is written, and puts it behind what the file has by then."""
    dataset[(0,) * dataset.ndim] = 0


def allocate(path: Path, size: int = 0) -> None:
    """Take the blocks of a file of `size` bytes, or as many as it has, from the disk now, not amid a run."""
    with path.open("ab", buffering=0) as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size or os.fstat(file.fileno()).st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise  # a file system that cannot reserve space still gets its file
        sync_file(file)


def publish(temporary: Path, path: Path, overwrite: bool, advice: str = RESUME_OR_REPLACE) -> None:
    """Give a complete file its name; without `overwrite` it takes nobody's place, not even one made just now."""
    if overwrite:
        os.replace(temporary, path)
    else:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise occupied(path, advice) from None
        except OSError:  # a file system without hard links
            os.replace(temporary, path)
        temporary.unlink(missing_ok=True)
    try:
        sync_folder(path.parent)
    except OSError:
        if not overwrite:
            path.unlink(missing_ok=True)
        raise


@contextmanager
def output_errors(path: Path, advice: str = "") -> Iterator[None]:
    """The operating system's refusals as `OutputError`s that name the file.

    advice: in which ``{remedy}`` stands for what helps against the refusal.
    HDF5 reports a write that fails while it flushes or closes as a RuntimeError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        remedy = _REMEDIES.get(_number(error), "see to that")
        hint = f" — {advice.format(remedy=remedy)}" if advice else ""
        raise OutputError(f"cannot write {path}: {_reason(error)}{hint}") from error


def _number(error: OSError | RuntimeError) -> int | None:
    """The system's error number, where HDF5 passes it on."""
    if match := re.search(r"errno = (\d+)", str(error)):
        return int(match[1])
    return getattr(error, "errno", None)


def _reason(error: OSError | RuntimeError) -> str:
    """One line: the system's own words where HDF5 passes the error number on, HDF5's where it does not."""
    if (number := _number(error)) is not None:
        return os.strerror(number)
    return (str(error) or type(error).__name__).splitlines()[0]
