"""A cache on disk of what backends compile.

An entry is one file of plain bytes with a checksum: nothing in it is unpickled. ``compile`` keeps machine code, so
only its user may write to the folder. A cache is a convenience: an entry that cannot be read counts as missing, and
one that cannot be written is skipped.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from emnist_diff.errors import OutputError
from emnist_diff.events import get_logger
from emnist_diff_trajectory.files import write_bytes

log = get_logger()

LIMIT = 512 * 2**20
"""Bytes that the entries of one backend may take together."""

_MAGIC = b"emnist-diff cache 1\n"
_SUFFIX = ".cache"
_STALE = 24 * 3600
"""Seconds after which a file that is still under its temporary name was left by a process that died."""


def key_of(*parts: str) -> str:
    """The key of an entry that depends on `parts` and on nothing else: 64 hexadecimal digits."""
    return hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


@attrs.frozen
class Cache:
    """Entries by key in a folder. Any number of processes may use it at once.

    limit: bytes of all entries; beyond it, the entries that were unused for longest are removed.
    """

    folder: Path
    limit: int = LIMIT

    def get(self, key: str) -> list[bytes] | None:
        """The parts that were stored under `key`, or None."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        parts = _unpacked(data)
        if parts is None:
            log.debug("cache.damaged", path=str(path))
            return None
        with suppress(OSError):
            os.utime(path)  # used just now
        return parts

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Store `parts` under `key`, whole or not at all; nothing is raised where that cannot be."""
        data = _packed(parts)
        if len(data) > self.limit:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_bytes(self._path(key), data, sync=False)  # a power cut costs an entry, which the checksum shows
        except (OSError, OutputError) as error:
            log.debug("cache.unwritable", folder=str(self.folder), error=str(error))
            return
        self._trim(self._path(key))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _trim(self, newest: Path) -> None:
        """Remove entries beyond the limit and files that dead processes left; another process may do so as well."""
        entries: list[tuple[float, int, Path]] = []
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    stat = path.stat()
                    if path.suffix == _SUFFIX:
                        entries.append((stat.st_mtime, stat.st_size, path))
                    elif path.name.endswith(".tmp") and time.time() - stat.st_mtime > _STALE:
                        path.unlink()
        excess = sum(size for _, size, _ in entries) - self.limit
        for _, size, path in sorted(entries):
            if excess <= 0:
                return
            if path != newest:
                with suppress(OSError):
                    path.unlink()
                excess -= size


def _packed(parts: Sequence[bytes]) -> bytes:
    """Magic, SHA-256 of the rest, and each part after its length in 8 bytes, little-endian."""
    body = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return _MAGIC + hashlib.sha256(body).digest() + body


def _unpacked(data: bytes) -> list[bytes] | None:
    """The parts, or None for what `_packed` did not make or what has changed since."""
    head = len(_MAGIC) + 32
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        return None
    parts, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at : at + 8], "little")
        parts.append(body[at + 8 : at + 8 + size])
        at += 8 + size
    return parts
