"""The files that the workers of a run leave in its directory: their names, and which are missing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import attrs

OF_A_WORKER = re.compile(r"(?P<stem>.+)-(?P<rank>\d{4,})-of-(?P<count>\d{4,})(?:\.[^.]*)?")
"""The names of such files, see `frames.worker_name`."""


@attrs.frozen
class WorkerFile:
    """A file with the name of a worker's: `stem`, ``-0003-of-0010``, and a suffix."""

    path: Path
    stem: str
    rank: int
    count: int


def worker_files(folder: Path) -> list[WorkerFile]:
    """The workers' files in a directory, by name; none where the directory is not there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = ((folder / name, OF_A_WORKER.fullmatch(name)) for name in names if not name.startswith("."))
    return [WorkerFile(p, m["stem"], int(m["rank"]), int(m["count"])) for p, m in found if m is not None]


def missing_ranks(files: Iterable[WorkerFile], count: int) -> list[int]:
    """The ranks of `count` workers that have none of these files."""
    return sorted(set(range(count)) - {file.rank for file in files if file.count == count})


def few(numbers: list[int]) -> str:
    """The first of some numbers, in words: ``3``, ``3, 7 and 8``, ``1, 2, 3, 4 and 92 more``."""
    if len(numbers) > 5:
        return f"{', '.join(map(str, numbers[:4]))} and {len(numbers) - 4} more"
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))
