"""Files that are whole or not there, and bytes of which it is known whether they are on the disk."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from emnist_diff.errors import OutputError
from emnist_diff_trajectory.temporary import remove_leftovers, temporary_name

try:
    import fcntl as fcntl  # for `lock` too
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module there, None here

_CANNOT_BE_SYNCED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What a file system answers that has nothing to wait for. Any other answer means that bytes may be lost."""

_TOGETHER = 64
"""Files that are open at once while many are written."""


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace `path` by `data`: whatever kills this process, it is the old file or the whole new one.

    sync: wait until it is on the disk, so that a power cut cannot take it back.
    What earlier processes that were killed here have left of the same file is removed.

    Raises `OutputError` when it cannot be written; the old file is then as it was.
    """
    if not path.name or os.path.isdir(path):  # pathlib raises where a name is too long
        raise OutputError(f"cannot write {path}: it is a directory — name a file")
    if os.path.exists(path) and not os.path.isfile(path):  # a device, which a rename would replace
        raise OutputError(f"cannot write {path}: it is no regular file — name another")
    with _refusals(path):
        make_folder(path.parent, sync=sync)
        remove_leftovers(path)
        _write(path.parent, [(path.name, data)], sync)


def write_files(folder: Path, files: Iterable[tuple[str, bytes]], *, sync: bool = True) -> None:
    """Write many files, by name and content, into a folder that is there: each whole or not at all, and with `sync`
    all of them on the disk when this returns, which costs less than to wait for one after the other.

    Raises `OutputError`.
    """
    left = iter(files)
    while some := list(islice(left, _TOGETHER)):
        with _refusals(folder / some[0][0]):
            _write(folder, some, sync)


def _write(folder: Path, files: list[tuple[str, bytes]], sync: bool) -> None:
    """Write under temporary names, wait for the disk, and rename."""
    temporaries = [temporary_name(folder / name) for name, _ in files]
    try:
        with ExitStack() as opened:
            handles = []
            for temporary, (_, data) in zip(temporaries, files, strict=True):
                handle = opened.enter_context(open(temporary, "wb", buffering=0))
                write_at(handle, 0, data)
                handles.append(handle)
                if sync and len(files) > 1:
                    _begin_writing_back(handle)
            for handle in handles if sync else ():
                sync_file(handle)
        for temporary, (name, _) in zip(temporaries, files, strict=True):
            os.replace(temporary, folder / name)
        if sync:
            sync_folder(folder)
    except BaseException:  # an interrupt must not leave the temporary files behind either
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink()
        raise


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """The system's refusals as an `OutputError` that names the file, or the one that the system names."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def write_at(file: BinaryIO, offset: int, data: bytes | memoryview) -> None:
    """Write all of `data`, which is bytes, to an unbuffered file from `offset` on, however little the system takes at
    a time."""
    left = memoryview(data)
    file.seek(offset)
    while left:
        taken = file.write(left)
        if not taken:
            raise OSError(errno.EIO, "the system takes no more bytes and does not say why")
        left = left[taken:]


def sync_file(file: BinaryIO) -> None:
    """Return when all bytes of an unbuffered file are on the disk. Raises `OSError` when some may never be."""
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # on macOS, fsync stops at the disk's own memory
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)
        else:
            getattr(os, "fdatasync", os.fsync)(file.fileno())
    except OSError as error:
        if error.errno not in _CANNOT_BE_SYNCED:
            raise


def _begin_writing_back(file: BinaryIO) -> None:
    """Let the disk begin, so that waiting for many files is waiting for one journal entry."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk, where folders can be synced. Raises `OSError` when some may
    never be."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders, and a folder may be for writing alone
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _CANNOT_BE_SYNCED:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path, *, sync: bool = True) -> None:
    """Make a folder and those above it that are missing, their names on the disk. Raises `OSError`."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        if sync:
            sync_folder(new.parent)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex, read once while the file does not change. Raises `OSError` where it cannot be read."""
    state = path.stat()
    return _hashed(str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _hashed(path: str, *state: int) -> str:
    """state: of the file, so that one that has changed is read again."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
