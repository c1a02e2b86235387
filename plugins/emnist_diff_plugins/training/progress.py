"""How far a training is: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Any

from emnist_diff.events import get_logger

log = get_logger()

_LOG_EVERY = 30.0
"""Seconds between log lines."""


class Progress:
    """Shows steps, loss, images a second and the time left; `update` is the trainer's `OnProgress`."""

    def __init__(self, bar: bool, batch_size: int) -> None:
        self._bar: Any = None
        self._batch_size = batch_size
        self._first: tuple[float, int] | None = None
        self._logged = 0.0
        if bar:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("training"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:.0f} images/s"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, total: int, loss: float) -> None:
        """`step` of `total` steps are done, the last with `loss`."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._logged = (now, step), now
            if self._bar is not None:  # only now: of several workers, the first alone is told
                self._bar.start()
                self._task = self._bar.add_task("training", total=total, loss=loss, rate=0.0)
        began, start = self._first  # of this sitting: a resumed training does not count what others have done
        rate = (step - start) / (now - began) if now > began else 0.0
        images = rate * self._batch_size
        if self._bar is not None:
            self._bar.update(self._task, completed=step, total=total, loss=loss, rate=images)
        elif now - self._logged >= _LOG_EVERY:
            self._logged = now
            left = round((total - step) / rate / 60, 1) if rate else None
            log.info("train.progress", step=step, steps=total, loss=round(loss, 5), images_per_second=round(images, 1),
                     minutes_left=left)  # fmt: skip
