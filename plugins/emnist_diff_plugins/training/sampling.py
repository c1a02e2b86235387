"""Samples of a model under training, by the settings that its checkpoint recommends and from the same noise each time,
so that what differs between two pictures is the model."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.frames import BatchResult, Frame
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.decoding import decoded
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_plugins.training.pictures import Picture, grid
from emnist_diff_plugins.validation.walker import Stop, Walker

_MOST_STEPS, _MOST_SAMPLES, _SHOWN = 50, 100, 10
"""Steps of a walk, samples of a grid, and classes and moments of the pictures of denoising."""


@attrs.frozen(eq=False)
class Sampler:
    """guidance: the recommended scale.  classes: how many there are."""

    denoiser: Denoiser
    walker: Walker
    guidance: float
    classes: int

    @classmethod
    def of(cls, denoiser: Denoiser, header: CheckpointHeader, registry: Registry, device: torch.device) -> Sampler:
        """What walks as a run of this checkpoint would, in at most 50 steps."""
        settings = resolve(header.recommended)
        steps = min(settings.steps, _MOST_STEPS)
        walked = resolve({"scheduler": settings.scheduler, "steps": steps, "guidance_scale": settings.guidance_scale})
        walker = Walker.of(denoiser, walked, registry, device)
        return cls(denoiser, walker, settings.guidance_scale, len(header.classes))

    def walked(
        self, labels: list[int], guidance: float, stop: Stop, moments: frozenset[int] = frozenset()
    ) -> Iterator[Frame | BatchResult]:
        """See `Walker.walked`."""
        return self.walker.guided(guidance).walked(labels, stop, moments)

    def samples(self, labels: list[int], guidance: float, stop: Stop) -> tuple[Tensor, Tensor] | None:
        """See `Walker.samples`."""
        return self.walker.guided(guidance).samples(labels, stop)

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
        steps = len(self.walker.engine.timeline)
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
