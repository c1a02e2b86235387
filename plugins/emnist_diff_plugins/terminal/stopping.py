"""Signals to a command, from its first moment to its last: each stops it in one line, and none of them kills it."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_STOP = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2") if hasattr(signal, name))
_DEAF = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))
"""Those for which commands that know better, such as run and train, have a meaning of their own while they work."""

_AGAIN = 0.05
"""Seconds after which a stop is tried again that came where Python lets no exception out."""


class Stops:
    """Turns signals into `KeyboardInterrupt` for as long as its context lasts; `came` says whether one came.

    What is ignored stays ignored, as a hangup is under nohup. After the context, Ctrl-C while the interpreter shuts
    down ends the process with `code` and without a word, for there is nothing left to stop.
    """

    def __init__(self) -> None:
        self.came = False
        self.code = 0
        self._over = False
        self._before: dict[int, Any] = {}
        self._hook: Any = None

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():
            for number in (*_STOP, *_DEAF):
                handler = signal.getsignal(number)
                before = getattr(handler, "__func__", None) is Stops._late  # an earlier command in this process
                if before or handler in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._stop if number in _STOP else _nothing)
            self._hook, sys.unraisablehook = sys.unraisablehook, self._lost
        return self

    def __exit__(self, *exc: object) -> None:
        if self._hook is not None:
            sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is signal.SIG_DFL else self._late)

    def end(self, code: int) -> None:
        """The command is over, with this exit code; what comes now has nothing left to stop."""
        self.code, self._over = code, True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            os._exit(self.code)
        self.came = True
        raise KeyboardInterrupt

    def _late(self, number: int, frame: FrameType | None) -> None:
        if threading.main_thread().is_alive():  # somebody goes on after the command
            signal.default_int_handler(number, frame)
        os._exit(self.code)

    def _lost(self, unraisable: Any) -> None:
        """A stop in a callback or a finalizer comes to nothing but a traceback: have it come again, elsewhere."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook(unraisable)
            return
        again = threading.Timer(_AGAIN, _thread.interrupt_main)
        again.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread can be started at the very end
            again.start()


def _nothing(number: int, frame: FrameType | None) -> None:
    """Nobody listens."""
