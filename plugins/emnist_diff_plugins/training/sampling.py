"""Samples of a model under training, by the settings that its checkpoint recommends and from the same noise each time,
so that what differs between two pictures is the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.assembly.layout import bound_scheduler
from emnist_diff.components import make
from emnist_diff.config import resolve
from emnist_diff.engine.base import Base
from emnist_diff.engine.decoding import decoded
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import BatchResult, Frame
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser, Scheduler
from emnist_diff.records import SchedulerSpec
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.training.pictures import Picture, grid

Stop = Callable[[], bool]
"""Whether there is no time for more pictures."""

_MOST_STEPS, _MOST_SAMPLES, _SHOWN = 50, 100, 10
"""Steps of a walk, samples of a grid, and classes and moments of the pictures of denoising."""


@attrs.frozen(eq=False)
class Sampler:
    """guidance: the recommended scale.  classes: how many there are."""

    denoiser: Denoiser
    scheduler: Scheduler
    timeline: Timeline
    guidance: float
    classes: int
    device: torch.device

    @classmethod
    def of(cls, denoiser: Denoiser, header: CheckpointHeader, registry: Registry, device: torch.device) -> Sampler:
        """What walks as a run of this checkpoint would, in at most 50 steps."""
        settings = resolve(header.recommended)
        component = make(registry, SchedulerSpec, settings.scheduler)
        scheduler = bound_scheduler(component, header.schedule, header.prediction)
        timeline = scheduler.plan(min(settings.steps, _MOST_STEPS))
        return cls(denoiser, scheduler, timeline, settings.guidance_scale, len(header.classes), device)

    def walked(
        self, labels: list[int], guidance: float, stop: Stop, moments: frozenset[int] = frozenset()
    ) -> Iterator[Frame | BatchResult]:
        """Samples of these classes, a batch after the other, ended where `stop` says so.  moments: steps whose frames
        hold ``x`` and ``x0``."""
        base = Base("cfg", guidance)
        engine = Engine({"": self.denoiser}, self.scheduler, self.timeline, base, micro_batch=32, device=self.device)
        wanted = frozenset({"x", "x0"})
        for start in range(0, len(labels), 16):
            if stop():
                return
            ids = tuple(range(start, min(start + 16, len(labels))))
            batch = Batch(ids, ids, tuple(labels[i] for i in ids), (1000,) * len(ids))
            yield from walk(engine, batch, lambda at: wanted if at.index in moments else frozenset())

    def samples(self, labels: list[int], guidance: float, stop: Stop) -> tuple[Tensor, Tensor] | None:
        """States (N, *shape) and images (N, C, H, W) in [0, 1] of samples of these classes; None where `stop` says on
        the way that there is no time for them."""
        done = [event for event in self.walked(labels, guidance, stop) if isinstance(event, BatchResult)]
        if sum(len(result.positions) for result in done) < len(labels):
            return None
        return torch.cat([result.x for result in done]), torch.cat([result.images for result in done])

    def grids(self, guidances: tuple[float, ...], stop: Stop, each: int = 1) -> list[Picture] | None:
        """`each` samples of each class (of the first hundred) at the recommended guidance and at these; None where
        `stop` says so on the way."""
        classes = range(min(self.classes, _MOST_SAMPLES))
        labels = [label for label in classes for _ in range(each)]
        drawn = []
        for guidance in dict.fromkeys((self.guidance, *guidances)):
            if (found := self.samples(labels, guidance, stop)) is None:
                return None
            name = "" if guidance == self.guidance else f"guidance{guidance:g}"
            drawn.append(grid("samples", name, found[1], each if each > 1 else None))
        return drawn

    def denoising(self, stop: Stop) -> list[Picture] | None:
        """From noise to image, for one sample of each of the first classes: ``strips``, in which two rows are a sample,
        its state above and what the model takes the image to be below, and ``frame_000``, …: all samples at one moment,
        the last the finished ones. None where `stop` says so."""
        steps = len(self.timeline)
        moments = frozenset(np.linspace(0, steps - 1, min(_SHOWN, steps)).round().astype(int).tolist())
        states: list[Tensor] = []
        estimates: list[Tensor] = []
        final = None
        for event in self.walked(list(range(min(self.classes, _SHOWN))), self.guidance, stop, moments):
            if isinstance(event, BatchResult):
                final = event.images
            elif event.at.index in moments:
                states.append(decoded(self.denoiser, event["x"]))
                estimates.append(decoded(self.denoiser, event["x0"]))
        if final is None:
            return None
        rows = torch.stack([torch.stack([*line, final], 1) for line in (states, estimates)], 1)
        strips = grid("steps", "strips", rows.flatten(0, 2), len(states) + 1)
        frames = [grid("steps", f"frame_{i:03d}", images) for i, images in enumerate((*states, final))]
        return [strips, *frames]
