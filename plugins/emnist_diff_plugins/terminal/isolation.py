"""What commands do against plugins that end the process.

A plugin module can call ``os._exit``, crash the interpreter or never return, and Python has no word against that. A
child process therefore examines the plugins of others first: the child that dies says which it was.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

from emnist_diff.probing import Care

PATIENCE = 20.0
"""Seconds that a plugin has to be imported; by contract it imports nothing large."""

_FINE, _INTERRUPTED = b"+", b"!"


class Isolation(Care):
    """The care of a command, which owns its process; see `emnist_diff.probing.Care`."""

    def fatal(self, count: int, visit: Callable[[int], None]) -> dict[int, str]:
        out: dict[int, str] = {}
        start = 0
        while start < count and threading.active_count() == 1:
            start, why = _probed(start, count, visit)
            if why:
                out[start] = why
                start += 1
        return out

    @contextlib.contextmanager
    def printing(self) -> Iterator[None]:
        saved = None
        with contextlib.suppress(OSError, ValueError):  # a stream may be closed, or be no file
            sys.stdout.flush()
            saved = os.dup(1)
            os.dup2(2, 1)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            if saved is not None:
                os.dup2(saved, 1)
                os.close(saved)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Meanwhile `os._exit` raises `SystemExit`, so that it can be said whose call it was."""
        end, process = os._exit, os.getpid()

        def raising(status: int) -> NoReturn:
            if os.getpid() != process:  # a child that was forked meanwhile ends as it means to
                end(status)
            raise SystemExit(f"it ends the process, with exit code {status}")

        os._exit = raising
        try:
            with self.printing():
                yield
        finally:
            os._exit = end


def _probed(start: int, count: int, visit: Callable[[int], None]) -> tuple[int, str]:
    """How far a child comes that begins with `visit(start)`, and why it comes no further."""
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _in_child(start, count, visit, writing)
    os.close(writing)
    ended = False
    try:
        while start < count:
            if not select.select([reading], [], [], PATIENCE)[0]:
                return start, f"importing it did not end within {PATIENCE:g} seconds"
            answer = os.read(reading, 1)
            if answer == _INTERRUPTED:
                return start, "it raises KeyboardInterrupt when it is imported"
            if ended := answer != _FINE:
                break
            start += 1
    finally:
        os.close(reading)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return start, f"importing it ends the process, {how}" if ended else ""


def _in_child(start: int, count: int, visit: Callable[[int], None], writing: int) -> None:
    """Visit, report, and end without a trace."""
    code = 0
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        for number in range(start, count):
            try:
                visit(number)
            except KeyboardInterrupt:
                os.write(writing, _INTERRUPTED)
                break
            os.write(writing, _FINE)
    except BaseException:  # nothing of the child may run on in the parent's code
        code = 1
    finally:
        os._exit(code)
