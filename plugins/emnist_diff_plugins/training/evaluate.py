"""What a network under training can do: its loss on held-out images, its x0 error by noise
level, and what a codec leaves of an image."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.parameterization import to_x0
from emnist_diff.protocols import Denoiser
from emnist_diff.timeline import FlowSchedule, ForwardProcess, rates
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.codecs import Codec
from emnist_diff_plugins.containers.families import Objective
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.schedulers._process import alphas_cumprod
from emnist_diff_plugins.training.batches import key, to_image
from emnist_diff_plugins.training.objective import loss, noised

LEVELS = (0.9, 0.8, 0.7, 0.5, 0.3, 0.1)
"""Noise levels, as fractions of the training timesteps."""

_IMAGES, _ROWS = 256, 64


@attrs.frozen(eq=False)
class Probe:
    """A fixed set of held-out states with fixed noise, so that epochs can be compared.

    x0: (N, *shape).  labels: (N,) class indices.  noise: (N, *shape).  times: (N,), drawn as in training.
    images: (N, C, H, W), uint8.
    """

    x0: Tensor
    labels: Tensor
    noise: Tensor
    times: Tensor
    images: Tensor

    @classmethod
    def of(cls, images: Images, seed: int, to_x0: Callable[[Tensor], Tensor], objective: Objective) -> Probe:
        """Up to 256 held-out images, drawn with `seed`, as states."""
        generator = torch.Generator().manual_seed(key(seed, 3))
        chosen = torch.randperm(len(images.images), generator=generator)[:_IMAGES].numpy()
        pixels, labels = (torch.from_numpy(of[chosen]) for of in (images.images, images.labels))
        x0 = to_x0(pixels)
        noise = torch.randn(tuple(x0.shape), generator=generator)
        times = objective.timesteps(torch.Generator().manual_seed(key(seed, 6)), len(x0))
        return cls(x0, labels, noise, times, pixels)


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
    for t, level in levels_of(header.schedule):
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


def reconstruction(codec: Codec, images: Tensor) -> dict[str, float]:
    """What a codec leaves of uint8 images (N, C, H, W): the mean squared error of the pixels in [0, 1], and mean and
    deviation of the standardised latents."""
    pixels = to_image(images).to(codec.mean.device)
    states = codec.encode(pixels)
    error = (codec.decode(states) - pixels).square().mean()
    return {"mse": float(error), "latent_mean": float(states.mean()), "latent_std": float(states.std())}


def levels_of(process: ForwardProcess) -> list[tuple[float, tuple[float, float]]]:
    """`LEVELS` of a process: the timestep shown to the network, and (signal, noise)."""
    if isinstance(process, FlowSchedule):
        return [(level * process.time_scale, (1.0 - level, level)) for level in LEVELS]
    alpha_bar = alphas_cumprod(process)
    timesteps = [int(level * process.train_timesteps) for level in LEVELS]
    return [(t, rates(float(alpha_bar[t]), "diffusion")) for t in timesteps]


@torch.inference_mode()
def held_out_loss(denoiser: Denoiser, objective: Objective, probe: Probe, device: torch.device) -> float:
    """The training loss of the probe with its right classes, its times and its noise the same each time."""
    losses = []
    parts = (t.to(device).split(_ROWS) for t in (probe.x0, probe.noise, probe.times, probe.labels))
    for x0, noise, t, index in zip(*parts, strict=True):
        x = noised(x0, noise, objective.rates(t))
        answer = denoiser.predict(x, t.float(), RowConditions(index, ""))
        losses.append(loss(answer, objective.target(x0, noise, t), objective.weight(t)) * len(x0))
    return float(torch.stack(losses).sum()) / len(probe.x0)
