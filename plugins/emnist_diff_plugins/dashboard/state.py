"""What the dashboard shows: one state, written by the run and read by the painter, each in its own thread."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from emnist_diff_trajectory.pixels import Pixels

_LINES, _FINISHED = 200, 100


@attrs.frozen
class Line:
    """A log line: seconds since the epoch, its level (``info``, ``warning``, …; empty for what was merely printed),
    and its text."""

    at: float
    level: str
    text: str


@attrs.frozen
class Finished:
    """A finished sample: id, character and seed; seconds, its share of its batch's; path, the summed L2 length of the
    steps of its state; gpu_mb, the most GPU memory that torch held so far, in 10⁶ bytes, or None on a CPU."""

    sample: int
    character: str
    seed: int
    seconds: float
    path: float
    gpu_mb: float | None = None


@attrs.frozen(eq=False)
class Picture:
    """Estimates of images: uint8 (K, H, W) or (K, H, W, 3), the samples that they are of, and the step, from 1."""

    pixels: Pixels
    samples: tuple[int, ...]
    step: int


@attrs.frozen
class Numbers:
    """What is measured of a sample in hand: values by the names of `metrics.live`, NaN where there is none; and the
    token of its text that got most attention so far, with its share, "" and NaN where none is captured."""

    sample: int
    values: Mapping[str, float]
    token: str = ""
    share: float = math.nan


@attrs.frozen(eq=False)
class Snapshot:
    """The state at a moment.

    title: what is made.  total, resumed, new: samples in all, found committed, and committed by this run.
    batch: samples in hand.  step, steps: of them, finished and in all.  elapsed: seconds since the run began.
    lines, finished: newest last; the same objects for as long as nothing is added.
    numbers: of samples in hand when `measured` steps were behind them.
    """

    title: str = ""
    total: int = 0
    resumed: int = 0
    new: int = 0
    batch: int = 0
    step: int = 0
    steps: int = 0
    elapsed: float = 0.0
    stopping: bool = False
    lines: tuple[Line, ...] = ()
    finished: tuple[Finished, ...] = ()
    picture: Picture | None = None
    measured: int = 0
    numbers: tuple[Numbers, ...] = ()

    @property
    def done(self) -> int:
        """Samples that are committed."""
        return self.resumed + self.new

    @property
    def rate(self) -> float | None:
        """Samples a second of this run, those in hand by the share of their steps; None before the first step."""
        worth = self.new + (self.batch * self.step / self.steps if self.steps else 0.0)
        return worth / self.elapsed if worth and self.elapsed > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds until all samples are made, or those in hand if the run is to stop after them, at the rate so far;
        None before the first step."""
        if self.rate is None:
            return None
        goal = self.new + self.batch if self.stopping else self.total - self.resumed
        return max(0.0, goal / self.rate - self.elapsed)


class State:
    """The only place where the threads meet; every method may be called from any of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._now = Snapshot()
        self._began: float | None = None
        self._lines: deque[Line] = deque(maxlen=_LINES)
        self._finished: deque[Finished] = deque(maxlen=_FINISHED)

    def begin(self, title: str, total: int, steps: int) -> None:
        """A run of `total` samples, `steps` steps each, begins now."""
        with self._lock:
            self._began = self._clock()
            self._now = attrs.evolve(self._now, title=title, total=total, steps=steps)

    def resumed(self, samples: int) -> None:
        """This many samples were committed before."""
        with self._lock:
            self._now = attrs.evolve(self._now, resumed=samples)

    def stepped(self, batch: int, step: int) -> None:
        """The `batch` samples in hand have `step` steps behind them."""
        with self._lock:
            self._now = attrs.evolve(self._now, batch=batch, step=step)

    def pictured(self, picture: Picture) -> None:
        """A new picture of the samples in hand."""
        with self._lock:
            self._now = attrs.evolve(self._now, picture=picture)

    def measure(self, step: int, numbers: tuple[Numbers, ...]) -> None:
        """New numbers of samples with `step` steps behind them."""
        with self._lock:
            self._now = attrs.evolve(self._now, measured=step, numbers=numbers)

    def committed(self, samples: Iterable[Finished]) -> None:
        """The batch in hand is committed, with these samples."""
        samples = tuple(samples)
        with self._lock:
            self._finished.extend(samples)
            new = self._now.new + len(samples)
            self._now = attrs.evolve(self._now, new=new, batch=0, step=0, finished=tuple(self._finished))

    def slept(self, seconds: float) -> None:
        """The run was suspended for so long; that time does not count."""
        with self._lock:
            if self._began is not None:
                self._began += seconds

    def stop(self) -> None:
        """The run has been asked to stop after the batch in hand."""
        with self._lock:
            self._now = attrs.evolve(self._now, stopping=True)

    def log(self, line: Line) -> None:
        """Add a line to the log."""
        with self._lock:
            self._lines.append(line)
            self._now = attrs.evolve(self._now, lines=tuple(self._lines))

    def snapshot(self) -> Snapshot:
        """Everything, as it is now."""
        with self._lock:
            elapsed = 0.0 if self._began is None else self._clock() - self._began
            return attrs.evolve(self._now, elapsed=elapsed)
