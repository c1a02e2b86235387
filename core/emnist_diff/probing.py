"""Care with the code of plugins: what it prints while it is imported, what it raises, and whether it ends the process.

A plugin module can call ``os._exit``, crash the interpreter or never return, and Python has no word against that. The
command line therefore lets a child process look at plugins of others first: the child that dies says which it was.
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

from emnist_diff.printable import printable
from emnist_diff.shown import shortened

PATIENCE = 20.0
"""Seconds that a plugin has to be imported; by contract it imports nothing large."""

_FINE, _INTERRUPTED = b"+", b"!"
_probes = False


def probe_from_now_on() -> None:
    """Let child processes of this one look at plugins of others first. For commands: a library must not fork the
    process that it is used in, whose threads and devices it does not know."""
    global _probes
    _probes = os.name == "posix"


def deadly(count: int, visit: Callable[[int], None]) -> dict[int, str]:
    """Which of `visit(0)` … `visit(count - 1)` must not be called, and why: those that end or block the process, and
    those that raise `KeyboardInterrupt`, which this process could not tell from a user's. {} unless probing is on.

    visit: raises nothing else.
    """
    out: dict[int, str] = {}
    start = 0
    while _probes and start < count and threading.active_count() == 1:
        start, why = _probed(start, count, visit)
        if why:
            out[start] = why
            start += 1
    return out


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
    try:
        why = ""
        while start < count:
            if not select.select([reading], [], [], PATIENCE)[0]:
                return start, f"importing it did not end within {PATIENCE:g} seconds"
            answer = os.read(reading, 1)
            if answer == _FINE:
                start += 1
            elif answer == _INTERRUPTED:
                return start, "it raises KeyboardInterrupt when it is imported"
            else:
                why = "importing it ends the process"
                break
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            if start == count or not why:
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    how = f", by {signal.Signals(-code).name}" if code < 0 else f", with exit code {code}"
    return start, why + how if why else ""


def _in_child(start: int, count: int, visit: Callable[[int], None], writing: int) -> None:
    """Look, say so, and end without a trace."""
    code = 0
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
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


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What is printed meanwhile goes to stderr: stdout is the command's, whose reader may expect JSON."""
    saved = None
    if _probes:
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
def exits_raised() -> Iterator[None]:
    """In commands, `os._exit` raises `SystemExit` meanwhile, so that it can be said whose call it was."""
    end, process = os._exit, os.getpid()

    def raising(status: int) -> NoReturn:
        if os.getpid() != process:  # a child that was forked meanwhile ends as it means to
            end(status)
        raise SystemExit(f"it ends the process, with exit code {status}")

    if _probes:
        os._exit = raising
    try:
        yield
    finally:
        os._exit = end


def reason(error: BaseException) -> str:
    """What a stranger's exception says, on one line of bounded length, whatever its class does."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return printable(shortened(" ".join(text.split()).removesuffix(":"), 500))
