"""Signals as requests: long work asks whether it should stop, and stops where nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_SAME_REQUEST = 1.0
"""Seconds: what comes so soon after the first is the same request, told by terminal and launcher alike."""


@contextmanager
def stop_requests(signals: Sequence[signal.Signals] = STOP_SIGNALS) -> Iterator[threading.Event]:
    """An event that the first of `signals` sets; another one, a second or more later, stops at once with
    `KeyboardInterrupt`. Outside the main thread, signals are the caller's business."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    asked: list[float] = []

    def request(number: int, frame: FrameType | None) -> None:
        if not asked:
            asked.append(time.monotonic())  # before the event: a signal that comes while it is being set must not
            stopping.set()  # wait for its lock. And no more: logging here would wait for a lock in the same way
        elif time.monotonic() - asked[0] >= _SAME_REQUEST:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, request) for number in signals}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not installed from Python
