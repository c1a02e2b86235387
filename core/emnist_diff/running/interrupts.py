"""Signals as requests: long work asks whether it should stop, and stops where nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_SAME_REQUEST = 1.0
"""Seconds: what comes so soon after the first is the same request, told by terminal and launcher alike."""


@contextmanager
def stop_requests(signals: Sequence[signal.Signals] = STOP_SIGNALS) -> Iterator[threading.Event]:
    """An event that the first of `signals` sets; another one, a second or more later, stops at once with
    `KeyboardInterrupt`. A hangup that is ignored, as nohup has it, stays ignored. Outside the main thread, signals are
    the caller's business."""
    stopping = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    requests: list[float] = []

    def request(number: int, frame: FrameType | None) -> None:
        if not requests:
            requests.append(time.monotonic())  # before the event: a signal that comes while it is being set must not
            stopping.set()  # wait for its lock. And no more: logging here would wait for a lock in the same way
        elif time.monotonic() - requests[0] >= _SAME_REQUEST:
            raise KeyboardInterrupt

    with handled(signals, request):
        yield stopping


@contextmanager
def handled(signals: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have these signals call a handler; one that is ignored stays so, unless it always stops a program."""
    wanted = [n for n in signals if n in STOP_SIGNALS or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)  # None: not installed from Python
