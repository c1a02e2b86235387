"""A bound on what cannot be asked to stop: a compiler at work, or any other code of a backend."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

_AGAIN = 5.0
"""Seconds after which the exception is raised again where code has swallowed it."""


class TooLong(BaseException):
    """What `limited` raises; no `Exception`, for code of backends and of torch catches those."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in code that takes longer, as soon as Python runs in it; elsewhere than in the main thread of a
    POSIX system nothing is raised."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: object) -> NoReturn:
        raise TooLong

    handler, started = signal.signal(signal.SIGALRM, stop), time.monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)  # of a timer of somebody else
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(1e-3, left - (time.monotonic() - started)), interval)
