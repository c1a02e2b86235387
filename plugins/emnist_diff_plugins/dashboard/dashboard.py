"""The dashboard on the terminal: taken over when the run begins, given back however it ends."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from emnist_diff.frames import RunHeader
from emnist_diff.printable import printable
from emnist_diff_plugins.dashboard.devices import Meters, Readings
from emnist_diff_plugins.dashboard.log import Log
from emnist_diff_plugins.dashboard.screen import Drawn, screen
from emnist_diff_plugins.dashboard.state import State
from emnist_diff_plugins.dashboard.streams import in_foreground
from emnist_diff_plugins.dashboard.terminal import Terminal
from emnist_diff_plugins.dashboard.watch import Watch
from emnist_diff_trajectory.printing import echo

_PAUSES, _SHARE = (0.25, 1.0), 0.005
"""Seconds between pictures of the screen, at least and at most; between these, the part of the time for drawing."""

_METERS_EVERY = 1.0
"""Seconds between readings of the meters."""


class Dashboard:
    """A run's dashboard. `sink` watches the run and opens it; `log.event` takes the log while it is open; `close`
    gives the terminal back, and may be called twice."""

    def __init__(self, stream: TextIO) -> None:
        self.state = State()
        self.log = Log(self.state)
        self.sink = Watch(self.state, self._opened, self.close)
        self._terminal = Terminal(stream)
        self._drawn: Drawn = {}
        self._over, self._suspended = threading.Event(), threading.Event()
        self._painter: threading.Thread | None = None
        self._restore = contextlib.ExitStack()

    def _opened(self, header: RunHeader) -> None:
        self.log.open(Path(header.output) / header.own_name("run.log"))
        self._restore.callback(self.log.close)
        self._restore.callback(self._terminal.leave)
        self._terminal.enter()
        self._restore.enter_context(_caught(self.log))
        self._restore.enter_context(_noticed(self._suspended))
        self._painter = threading.Thread(target=self._paint, name="dashboard", daemon=True)
        self._painter.start()

    def _paint(self) -> None:
        """Draw until it is over. A screen that cannot be drawn ends the dashboard, not the run."""
        meters = Meters()
        readings, read_at = meters.read(), time.monotonic()
        try:
            pause = 0.0
            while not self._over.wait(pause):
                began, busy = time.monotonic(), time.thread_time()
                if began - read_at >= _METERS_EVERY:
                    readings, read_at = meters.read(), began
                self._suspend()
                self._draw(readings)
                pause = min(max(_PAUSES[0], (time.thread_time() - busy) / _SHARE), _PAUSES[1])
        except Exception as error:
            self._terminal.leave()
            self.log.close()
            text = printable(f"emnist-diff: the dashboard stopped: {type(error).__name__}: {error}")
            print(text, file=self._terminal.stream)
        finally:
            meters.close()

    def _draw(self, readings: Readings) -> None:
        if not self._terminal.inside and in_foreground(self._terminal.stream):  # continued by fg
            self._terminal.enter()
        if self._terminal.inside:
            now = self.state.snapshot()
            self._terminal.draw(lambda width, height: screen(now, readings, width, height, self._drawn))

    def _suspend(self) -> None:
        """Do what Ctrl-Z asked for, with the terminal as the shell expects it."""
        if self._suspended.is_set():
            self._suspended.clear()
            self._terminal.leave()
            began = time.monotonic()
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread goes no further before it is done
            self.state.slept(time.monotonic() - began)

    def close(self) -> None:
        """Stop drawing, give terminal, stdout and stderr back, and repeat what should not be missed."""
        self._over.set()
        if self._painter is not None:
            self._painter.join()
            self._painter = None
        self._restore.close()
        grave, self.log.grave = self.log.grave, []
        for line in grave[-5:]:
            echo(line, err=True)
        if len(grave) > 5 and self.log.path is not None:
            echo(f"{len(grave)} warnings in all — see {self.log.path}", err=True)


@contextlib.contextmanager
def _caught(log: Log) -> Iterator[None]:
    """Have what is printed to the terminal become lines of the log, for it would tear the picture."""
    before = sys.stdout, sys.stderr
    out, err = (_Lines(stream, log) if stream.isatty() else stream for stream in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in (out, err):
            if isinstance(stream, _Lines):
                stream.finish()


class _Lines(io.TextIOBase):
    """A text stream whose lines go to the log."""

    def __init__(self, instead_of: TextIO, log: Log) -> None:
        self._of, self._log, self._rest = instead_of, log, ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._of.fileno()

    def write(self, text: str) -> int:
        if not self._log.taking:  # the dashboard went before the run did
            return self._of.write(text)
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._log.printed(line.rsplit("\r", 1)[-1])
        return len(text)

    def flush(self) -> None:
        self._of.flush()

    def finish(self) -> None:
        """The last line, where nobody ended it."""
        if self._rest:
            self.write("\n")


@contextlib.contextmanager
def _noticed(suspended: threading.Event) -> Iterator[None]:
    """Have Ctrl-Z set an event, where there is such a thing."""
    number = getattr(signal, "SIGTSTP", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, lambda number, frame: suspended.set())
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)
