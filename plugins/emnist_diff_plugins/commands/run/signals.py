"""What signals mean to ``emnist-diff run``: some stop it after the batch in hand, one has it say how far it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from emnist_diff.events import get_logger
from emnist_diff.frames import Frame
from emnist_diff.running.interrupts import STOP_SIGNALS, handled

log = get_logger()


def _known(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOPPING = (*STOP_SIGNALS, *_known("SIGHUP", "SIGUSR2"))
"""A terminal that is closed, and the signals that SLURM can be asked to send before the time of a job is over, are not
to kill a run."""

REPORTING = _known("SIGUSR1")


@contextmanager
def reports() -> Iterator[Callable[[Frame, int, int], None]]:
    """An `OnStep` of `running.run` that logs how far the run is, once for each of `REPORTING` that came."""
    wanted: list[int] = []  # no event: a handler must not wait for a lock that the thread which it interrupts may hold

    def report(frame: Frame, done: int, total: int) -> None:
        if wanted:
            wanted.clear()
            step = f"{frame.at.index + 1} of {frame.at.steps}"
            log.info("run.progress", done=done, total=total, in_hand=len(frame.positions), step=step)

    def request(number: int, frame: FrameType | None) -> None:
        wanted.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield report
        return
    with handled(REPORTING, request):
        yield report
