"""What a network under training can do: its x0 error by noise level, and a grid of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.engine.base import Base
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.frames import BatchResult
from emnist_diff.parameterization import to_x0
from emnist_diff.protocols import Denoiser
from emnist_diff.timeline import rates
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.schedulers._process import alphas_cumprod
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.training.batches import key, to_state

LEVELS = (0.9, 0.8, 0.7, 0.5, 0.3, 0.1)
"""Noise levels, as fractions of the training timesteps."""

_IMAGES, _ROWS, _SAMPLE_STEPS, _MOST_SAMPLES = 256, 64, 20, 100


@attrs.frozen(eq=False)
class Probe:
    """A fixed set of held-out images with fixed noise, so that epochs can be compared.

    images: uint8 (N, *shape).  labels: (N,) class indices.  noise: (N, *shape).
    """

    images: Tensor
    labels: Tensor
    noise: Tensor

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray, seed: int) -> Probe:
        """Up to 256 images, drawn with `seed`."""
        generator = torch.Generator().manual_seed(key(seed, 3))
        chosen = torch.randperm(len(images), generator=generator)[:_IMAGES].numpy()
        noise = torch.randn((len(chosen), *images.shape[1:]), generator=generator)
        return cls(torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]), noise)


@torch.inference_mode()
def x0_error(denoiser: Denoiser, header: CheckpointHeader, probe: Probe, device: torch.device) -> list[dict[str, Any]]:
    """Mean squared error of the x0 estimate at each of `LEVELS`, with the right class, with none, and with a wrong
    one. Where right and wrong differ little, the network does not look at the class."""
    alpha_bar = alphas_cumprod(header.schedule)
    x0, noise = to_state(probe.images.to(device)), probe.noise.to(device)
    right = probe.labels.to(device)
    classes = len(header.classes)
    shown = {"right": right, "null": torch.full_like(right, classes), "wrong": (right + max(1, classes // 2)) % classes}
    rows = []
    for level in LEVELS:
        t = int(level * header.schedule.train_timesteps)
        here = rates(float(alpha_bar[t]), "diffusion")
        x = here[0] * x0 + here[1] * noise
        row: dict[str, Any] = {"timestep": t}
        for name, index in shown.items():
            answers = [
                denoiser.predict(part, torch.full((len(part),), float(t), device=device), RowConditions(rows_, ""))
                for part, rows_ in zip(x.split(_ROWS), index.split(_ROWS), strict=True)
            ]
            estimate = to_x0(torch.cat(answers), x, here, header.prediction)
            row[name] = float((estimate - x0).square().mean())
        rows.append(row)
    return rows


def samples(
    denoiser: Denoiser,
    header: CheckpointHeader,
    settings: Mapping[str, Any],
    device: torch.device,
    stopping: Callable[[], bool] = lambda: False,
) -> Tensor | None:
    """One sample of each class (of the first hundred), DDIM with 20 steps at the recommended guidance, made by the
    engine: images (N, C, H, W) in [0, 1]. None when `stopping` says on the way that there is no time for it."""
    scheduler = Ddim().bind(header.schedule, header.prediction)
    timeline = scheduler.plan(min(_SAMPLE_STEPS, header.schedule.train_timesteps))
    base = Base("cfg", float(settings.get("guidance_scale", 2.5)))
    engine = Engine({"": denoiser}, scheduler, timeline, base, micro_batch=32, device=device)
    count = min(len(header.classes), _MOST_SAMPLES)
    images = []
    for start in range(0, count, 16):
        if stopping():
            return None
        ids = tuple(range(start, min(start + 16, count)))
        batch = Batch(ids, ids, ids, (1000,) * len(ids))
        events = walk(engine, batch, lambda at: frozenset())
        images += [event.images for event in events if isinstance(event, BatchResult)]
    return torch.cat(images)
