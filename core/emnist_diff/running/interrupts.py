"""Signals as requests: long work asks whether it should stop, and stops where nothing is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import attrs

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _known(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


@attrs.frozen
class Signals:
    """Which signals ask a run to stop after the batch in hand, and which to say how far it is.

    Those to stop are SIGINT and SIGTERM; a library leaves the others to the application.
    """

    stop: tuple[signal.Signals, ...] = STOP_SIGNALS
    report: tuple[signal.Signals, ...] = ()


OF_COMMANDS = Signals((*STOP_SIGNALS, *_known("SIGHUP", "SIGUSR2")), _known("SIGUSR1"))
"""What the command line listens to: a terminal that is closed, and the signals that SLURM can be asked to send
before the time of a job is over, are not to kill a run."""

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

    with _handled(signals, request):
        yield stopping


@attrs.define
class Report:
    """Whether a report is wanted. It is no event: the handler of a signal must not wait for a lock that the thread
    which it interrupts may hold."""

    wanted: bool = False


@contextmanager
def report_requests(signals: Sequence[signal.Signals]) -> Iterator[Report]:
    """A `Report` that each of `signals` makes wanted; whoever gives it sets it back."""
    report = Report()
    if threading.current_thread() is not threading.main_thread():
        yield report
        return

    def request(number: int, frame: FrameType | None) -> None:
        report.wanted = True

    with _handled(signals, request):
        yield report


@contextmanager
def _handled(signals: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    wanted = [n for n in signals if n in STOP_SIGNALS or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)  # None: not installed from Python
