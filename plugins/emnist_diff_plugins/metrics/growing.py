"""The file of JSON lines of a run while it grows."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff_trajectory.files import sync_file, write_at, write_bytes

LINES = "trace_metrics.jsonl"
"""The name of the file."""


@attrs.define(eq=False)
class GrowingLines:
    """``metrics/trace_metrics.jsonl`` of one worker: lines are there as soon as they are known, and the one that says
    of a sample that it is finished before its rows are in the tables."""

    path: Path
    _fsync: bool

    @classmethod
    def open(cls, path: Path, header: RunHeader, done: Collection[int]) -> GrowingLines:
        """The file of a run, with the lines of these samples alone. Raises `OutputError`."""
        try:
            kept = [text for text, line in _read(path) if line.get("vid_id") in done] if done else []
        except OSError as error:
            raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
        write_bytes(path, "".join(kept).encode(), sync=header.fsync)
        return cls(path, header.fsync)

    def add(self, lines: Iterable[str], *, lasting: bool = False) -> None:
        """Add lines.  lasting: wait until they are on the disk, where the run does. Raises `OutputError`."""
        if not (text := "".join(lines)) and not lasting:
            return
        try:
            with self.path.open("r+b", buffering=0) as file:
                write_at(file, file.seek(0, os.SEEK_END), text.encode())
                if lasting and self._fsync:
                    sync_file(file)
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error


def finished(path: Path) -> set[int]:
    """Ids of the samples of which a file of lines has the last one. Raises `OutputError`."""
    try:
        return {int(line["vid_id"]) for _, line in _read(path) if "steps" in line}
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole lines of a file, none where there is no file; what a kill left half is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text) if text.endswith("\n") else None
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("vid_id"), int):
                yield text, line
