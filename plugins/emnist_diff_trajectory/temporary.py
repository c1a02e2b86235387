"""Temporary names beside the files that are being written, and which of them a process has left that is no more.

``.trajectory.h5.node7-3f2a.4711.9c0d1e2f-1.tmp`` is for ``trajectory.h5``: the host and a hash of its full name and of
the namespace of its process ids, the process, something random of that process, and a count. On a disk that several
hosts share, a process id says nothing of another host's processes: what these have left is removed only when nobody has
written to it for a day.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

STALE = 24 * 3600.0
"""Seconds without a change after which another host's file is taken for a leftover."""

_LONGEST_NAME = 160
"""Bytes of the final name that a temporary one repeats at most: names have 255."""
_NAME = re.compile(r"\..*\.(?P<host>[0-9A-Za-z-]+)\.(?P<process>\d+)\.(?P<token>[0-9a-f]+)-\d+\.tmp", re.DOTALL)

_count = itertools.count()


def temporary_name(path: Path) -> Path:
    """A name beside `path` that no other process, on whatever host, and no other call has."""
    process = os.getpid()
    return path.with_name(f"{_beginning(path)}{host()}.{process}.{_token(process)}-{next(_count)}.tmp")


@functools.cache
def host() -> str:
    """The host, or container, on which process ids mean the same as in this process."""
    name = socket.gethostname()
    namespace = ""
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    digest = hashlib.sha256(f"{name}\0{namespace}".encode("utf-8", "surrogateescape")).hexdigest()
    readable = re.sub(r"[^0-9A-Za-z]+", "-", name.partition(".")[0])[:24].strip("-") or "host"
    return f"{readable}-{digest[:4]}"


def remove_leftovers(path: Path) -> None:
    """Remove what processes that died while writing `path` have left under temporary names. Raises `OSError`."""
    remove_abandoned(path.parent, _beginning(path))


def remove_abandoned(folder: Path, beginning: str = ".", final: str = "") -> None:
    """Remove the leftovers in a folder whose names begin so, and have the final name's part `final` in them; nothing
    where the folder is not there. Raises `OSError`."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(beginning) and final in entry.name and is_abandoned(Path(entry.path)):
                Path(entry.path).unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether a file has a temporary name and nobody who could still be writing it."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] == host():
        process = int(match["process"])
        return match["token"] != _token(process) if process == os.getpid() else not is_alive(process)
    try:
        return time.time() - path.stat().st_mtime > STALE
    except FileNotFoundError:
        return False


def is_alive(process: int) -> bool:
    """Whether a process of this host has this id."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is somebody else's
        pass
    return True


def _beginning(path: Path) -> str:
    """How all temporary names for `path` begin."""
    name = path.name
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[:-1]
    return f".{name}."


@functools.cache
def _token(process: int) -> str:
    """Something random of this process, which one that had the same id before did not have."""
    return secrets.token_hex(4)
