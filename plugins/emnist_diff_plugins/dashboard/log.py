"""The log of a run with a dashboard: lines for the panel, and a file next to the run that keeps all of them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

from emnist_diff_plugins.dashboard.state import Line, State

_GRAVE = ("warning", "error", "critical")


class Log:
    """Takes log events and printed lines while the dashboard has the terminal.

    Lines of the file are JSON objects. It is appended to: what earlier runs and other workers wrote stays.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self.taking = False
        """Whether events and printed lines come to this log."""
        self.path: Path | None = None
        self.grave: list[str] = []
        """Warnings and errors, to be repeated when the dashboard is gone."""

    def open(self, path: Path) -> None:
        """Begin to take events and printed lines, and keep them in `path`; without a file when it cannot be written."""
        self.taking = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115  # until close
            self.path = path
        except OSError as error:
            self._state.log(Line(time.time(), "warning", f"no log file {path}: {error}"))

    def event(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor: events end here while the dashboard is shown."""
        if not self.taking:
            return event
        level = str(event.get("level", ""))
        rest = " ".join(f"{k}={v}" for k, v in event.items() if k not in ("event", "level", "timestamp", "exc_info"))
        text = f"{event.get('event', '')} {rest}".rstrip()
        if event.get("event") == "run.started":
            self._state.resumed(int(event.get("resumed", 0)))
        elif event.get("event") == "run.stopping":
            self._state.stop()
        self._take(Line(time.time(), level, text), dict(event))
        raise structlog.DropEvent

    def printed(self, text: str) -> None:
        """A line that something wrote to stdout or stderr."""
        self._take(Line(time.time(), "", text), {"event": "printed", "text": text})

    def _take(self, line: Line, data: dict[str, Any]) -> None:
        self._state.log(line)
        with self._lock:
            if line.level in _GRAVE and data["event"] != "run.stopping":  # of which the end of the run will tell
                self.grave.append(f"{line.level}: {line.text}")
            if self._file is None:
                return
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(line.at))
            try:
                self._file.write(json.dumps({"timestamp": stamp, **data}, default=str) + "\n")
            except OSError:  # a full disk ends the log, not the run
                self._file = None

    def close(self) -> None:
        """Let later events pass."""
        self.taking = False
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # as above
                file.close()
