"""The sink that watches a run for the dashboard. It records nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from emnist_diff.events import get_logger
from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.dashboard.numbers import Measuring
from emnist_diff_plugins.dashboard.state import Finished, Picture, State
from emnist_diff_trajectory.pixels import to_uint8

log = get_logger()

_PICTURES = 32
"""Samples of a batch that are shown at most."""

_PAUSE, _SHARE = 0.25, 0.005
"""Seconds between pictures at least, and the largest part of the time that making them may take."""


class Watch:
    """A `Sink` that tells `state` of every step and every finished batch.

    opened: told of the run when every other sink was ready for it.  closed: told that it is over.
    """

    def __init__(self, state: State, opened: Callable[[RunHeader], None], closed: Callable[[], None]) -> None:
        self._state, self._opened, self._closed = state, opened, closed
        self._header: RunHeader | None = None
        self._batch_began = self._picture_due = 0.0
        self._cost = math.inf
        self._before: Tensor | None = None
        self._path: Tensor | None = None
        self._pictures = False
        self._previewer: Callable[[Tensor], Tensor] | None = None
        self._measuring: Measuring | None = None
        self._numbers_due, self._numbers_cost = 0.0, math.inf

    def take_previewer(self, previewer: Callable[[], Callable[[Tensor], Tensor]] | None) -> None:
        """`ShowsPreviews`: pictures are cheap ones where the denoiser has them."""
        self._previewer = None if previewer is None else previewer()

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset({"x", "x0", "prediction"})

    def open(self, header: RunHeader) -> None:
        self._header, self._measuring = header, Measuring(header)
        self._pictures = min(header.image_shape[-2:]) >= 4  # less is no picture
        labels = sorted(set(header.labels.tolist()))
        names = [header.classes[label] for label in labels] if header.conditioned else ["no class"]
        title = ", ".join(names[:6]) + (f", … ({len(names)} classes)" if len(names) > 6 else "")
        worker = f", worker {header.rank} of {header.world_size}" if header.world_size > 1 else ""
        self._state.begin(f"{title}{worker}", len(header.labels), len(header.timeline))
        self._opened(header)
        self._batch_began = time.monotonic()

    @torch.inference_mode()
    def write(self, frame: Frame) -> None:
        if frame.at.index == 0:
            self._before, self._path = None, None
        self._walked(frame["x"])
        self._state.stepped(len(frame.positions), frame.at.index + 1)
        self._measure(frame)
        if self._pictures and time.monotonic() >= self._picture_due:
            self._show(frame, frame["x0"])

    def _walked(self, x: Tensor) -> None:
        """Add the way from the state before to `x`; on a GPU this waits for nothing."""
        if self._before is not None:
            length = (x - self._before).flatten(1).float().norm(dim=1)
            self._path = length if self._path is None else self._path + length
        self._before = x

    def _measure(self, frame: Frame | None, final: Tensor | None = None) -> None:
        """Numbers of the samples in hand, when they are due or the samples are finished; where they fail, the run has
        none of them any more."""
        if self._measuring is None:
            return
        began = time.monotonic()
        try:
            if frame is not None:
                self._measuring.take(frame)
            if final is None and began < self._numbers_due:
                return
            numbers = self._measuring.numbers(final)
        except Exception as error:
            self._measuring = None
            log.warning("dashboard.no_numbers", error=f"{type(error).__name__}: {error}")
            return
        if numbers:
            assert self._header is not None
            self._state.measure(len(self._header.timeline) if frame is None else frame.at.index, numbers)
            now = time.monotonic()
            self._numbers_cost = min(self._numbers_cost, now - began)
            self._numbers_due = now + max(_PAUSE, self._numbers_cost / _SHARE)

    def _show(self, frame: Frame, x0: Tensor) -> None:
        """A picture of the samples in hand; one that cannot be made costs the run nothing but the picture."""
        assert self._header is not None
        began = time.monotonic()
        try:
            pixels = to_uint8((self._previewer or self._header.decode)(x0[:_PICTURES]))
        except Exception as error:
            self._pictures = False
            log.warning("dashboard.no_pictures", error=f"{type(error).__name__}: {error}")
            return
        samples = tuple(self._header.sample_ids[list(frame.positions[:_PICTURES])].tolist())
        self._state.pictured(Picture(pixels, samples, frame.at.index + 1))
        now = time.monotonic()
        self._cost = min(self._cost, now - began)  # the first one warms up, and others may have had to wait
        self._picture_due = now + max(_PAUSE, self._cost / _SHARE)

    @torch.inference_mode()
    def commit(self, batch: BatchResult) -> None:
        assert self._header is not None
        header, size = self._header, len(batch.positions)
        self._walked(batch.x)
        self._measure(None, batch.x)
        path = [0.0] * size if self._path is None else self._path.tolist()
        gpu_mb = torch.cuda.max_memory_allocated(batch.x.device) / 1e6 if batch.x.is_cuda else None
        now = time.monotonic()
        seconds, self._batch_began = (now - self._batch_began) / size, now
        self._state.committed(
            Finished(
                int(header.sample_ids[position]),
                header.class_of(position) or "no class",
                int(header.seeds[position]),
                seconds,
                path[row],
                gpu_mb,
            )
            for row, position in enumerate(batch.positions)
        )

    def close(self, outcome: Outcome) -> None:
        self._closed()
