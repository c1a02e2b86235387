"""How far a long export is: lines of the log, and a file that another program may read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Literal

import attrs

from emnist_diff.errors import OutputError
from emnist_diff.events import get_logger
from emnist_diff_trajectory.files import write_bytes

Stage = Literal["initializing", "loading", "generating", "exporting", "completed"]
"""Document 002's; nothing is generated where a run is exported."""

_QUIET = 5.0
"""Seconds between two lines."""

_MOST = 1 << 16
"""Bytes of a file of progress, at most."""


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST)


def _check_target(path: Path) -> None:
    """Raise `OutputError` for a file with anything but progress in it, such as the run that is exported."""
    try:
        text = _start(path) if path.is_file() else b""
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    try:
        known = not text or "stage" in json.loads(text)
    except (ValueError, TypeError, RecursionError):
        known = False
    if not known:
        raise OutputError(f"{path} holds something other than the progress of an export — name another file")


@attrs.define
class Progress:
    """A context manager: the stage, a message and the step of an export, of how many, as they come.

    file: document 002's progress file, replaced whole each time; None for none. What ends the block stands in it as
    its error.
    """

    dataset: Path
    file: Path | None = None
    _last: tuple[Stage, str, int, int] = attrs.field(init=False, default=("initializing", "", 0, 0))
    _shown: float = attrs.field(init=False, factory=time.monotonic)

    def report(self, stage: Stage, message: str, step: int, total: int) -> None:
        """step: how many are done of `total`. Raises `OutputError` where the file cannot be written."""
        self._last = (stage, message, step, total)
        self._write(None)
        if stage == "exporting" and step < total and time.monotonic() - self._shown > _QUIET:
            self._shown = time.monotonic()
            get_logger().info("export.dataset", message=message, done=step, total=total)

    def _write(self, error: str | None) -> None:
        if self.file is None:
            return
        stage, message, step, total = self._last
        data = {
            "stage": stage,
            "message": message,
            "current_step": step,
            "total_steps": total,
            "percent": round(100.0 * step / total, 1) if total else 0.0,
            "dataset_path": str(self.dataset),
            "error": error,
        }
        write_bytes(self.file, json.dumps(data, allow_nan=False).encode(), sync=False)

    def __enter__(self) -> Progress:
        if self.file is not None:
            _check_target(self.file)
        self._write(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            self._write(str(error) or type(error).__name__)
