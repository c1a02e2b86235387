"""Files that are whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from emnist_diff.errors import OutputError


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Replace `path` by `data`: whatever kills this process, it is the old file or the whole new one.

    sync: wait until it is on the disk, so that a power cut cannot take it back; dear where files are many.

    Raises `OutputError` when it cannot be written; the old file is then as it was.
    """
    if not path.name or os.path.isdir(path):  # pathlib raises where a name is too long
        raise OutputError(f"cannot write {path}: it is a directory — name a file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            sync_directory(path.parent)
    except BaseException as error:  # an interrupt must not leave the temporary file behind either
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def sync_directory(folder: Path) -> None:
    """Make a new name survive a power cut, where directories can be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
