"""What a network under training can do: its x0 error by noise level, and a grid of samples."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.assembly.layout import bound_scheduler
from emnist_diff.components import make
from emnist_diff.conditions import RowConditions
from emnist_diff.config import resolve
from emnist_diff.engine.base import Base
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import BatchResult
from emnist_diff.parameterization import to_x0
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff.records import SchedulerSpec
from emnist_diff.timeline import FlowSchedule, ForwardProcess, rates
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.schedulers._process import alphas_cumprod
from emnist_diff_plugins.training.batches import key

LEVELS = (0.9, 0.8, 0.7, 0.5, 0.3, 0.1)
"""Noise levels, as fractions of the training timesteps."""

_IMAGES, _ROWS, _MOST_STEPS, _MOST_SAMPLES = 256, 64, 50, 100


@attrs.frozen(eq=False)
class Probe:
    """A fixed set of held-out states with fixed noise, so that epochs can be compared.

    x0: (N, *shape).  labels: (N,) class indices.  noise: (N, *shape).
    """

    x0: Tensor
    labels: Tensor
    noise: Tensor

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray, seed: int, to_x0: Callable[[Tensor], Tensor]) -> Probe:
        """Up to 256 uint8 images, drawn with `seed`, as states."""
        generator = torch.Generator().manual_seed(key(seed, 3))
        chosen = torch.randperm(len(images), generator=generator)[:_IMAGES].numpy()
        x0 = to_x0(torch.from_numpy(images[chosen]))
        noise = torch.randn(tuple(x0.shape), generator=generator)
        return cls(x0, torch.from_numpy(labels[chosen]), noise)


@torch.inference_mode()
def x0_error(
    denoiser: Denoiser, header: CheckpointHeader, probe: Probe, device: torch.device
) -> list[dict[str, float]]:
    """Mean squared error of the x0 estimate at each of `LEVELS`, with the right class, with none, and with a wrong
    one. Where right and wrong differ little, the network does not look at the class."""
    x0, noise = probe.x0.to(device), probe.noise.to(device)
    right = probe.labels.to(device)
    classes = len(header.classes)
    shown = {"right": right, "null": torch.full_like(right, classes), "wrong": (right + max(1, classes // 2)) % classes}
    rows = []
    for t, level in _levels(header.schedule):
        x = level[0] * x0 + level[1] * noise
        row: dict[str, float] = {"timestep": t}
        for name, index in shown.items():
            answers = [
                denoiser.predict(part, torch.full((len(part),), float(t), device=device), RowConditions(rows_, ""))
                for part, rows_ in zip(x.split(_ROWS), index.split(_ROWS), strict=True)
            ]
            estimate = to_x0(torch.cat(answers), x, level, header.prediction)
            row[name] = float((estimate - x0).square().mean())
        rows.append(row)
    return rows


def _levels(process: ForwardProcess) -> list[tuple[float, tuple[float, float]]]:
    """`LEVELS` of a process: the timestep shown to the network, and (signal, noise)."""
    if isinstance(process, FlowSchedule):
        return [(level * process.time_scale, (1.0 - level, level)) for level in LEVELS]
    alpha_bar = alphas_cumprod(process)
    timesteps = [int(level * process.train_timesteps) for level in LEVELS]
    return [(t, rates(float(alpha_bar[t]), "diffusion")) for t in timesteps]


def samples(
    denoiser: Denoiser, header: CheckpointHeader, registry: Registry, device: torch.device, stop: Callable[[], bool]
) -> Tensor | None:
    """One sample of each class (of the first hundred) by the settings that the checkpoint recommends, made by the
    engine: images (N, C, H, W) in [0, 1]. None when `stop` says on the way that there is no time for it."""
    settings = resolve(header.recommended)
    scheduler = bound_scheduler(make(registry, SchedulerSpec, settings.scheduler), header.schedule, header.prediction)
    timeline = scheduler.plan(min(settings.steps, _MOST_STEPS))
    base = Base("cfg", settings.guidance_scale)
    engine = Engine({"": denoiser}, scheduler, timeline, base, micro_batch=32, device=device)
    count = min(len(header.classes), _MOST_SAMPLES)
    images = []
    for start in range(0, count, 16):
        if stop():
            return None
        ids = tuple(range(start, min(start + 16, count)))
        batch = Batch(ids, ids, ids, (1000,) * len(ids))
        events = walk(engine, batch, lambda at: frozenset())
        images += [event.images for event in events if isinstance(event, BatchResult)]
    return torch.cat(images)
