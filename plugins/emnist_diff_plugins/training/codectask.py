"""Training of codecs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.config import ComponentConfig
from emnist_diff.plugins import Registry
from emnist_diff_plugins.containers import codecs
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader, CodecHeader
from emnist_diff_plugins.containers.codecs import MEAN, PREFIX, STD, Codec
from emnist_diff_plugins.containers.families import CodecFamily, CodecNetwork
from emnist_diff_plugins.containers.weights import filled
from emnist_diff_plugins.training.batches import Batches, Draw, key
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_plugins.training.denoisertask import fastest_layout
from emnist_diff_plugins.training.task import Stop, Trained
from emnist_diff_plugins.training.workers import Workers

_FITTED, _HELD_OUT, _SHOWN = 4096, 1024, 8
"""Images whose latents give the statistics, held-out images whose reconstructions are measured, and pairs in a row:
a grid of 32 images has rows of eight, see `Report`."""


@attrs.frozen(eq=False)
class CodecTask:
    """`Task` of a codec. images, held_out: uint8 (N, C, H, W)."""

    config: TrainConfig
    registry: Registry
    family: CodecFamily
    settings: ComponentConfig
    network: nn.Module
    header: CheckpointHeader
    images: Tensor
    held_out: Tensor
    origin: Mapping[str, Any] | None = None
    table: str = "reconstruction"

    def batches(self, workers: Workers) -> Batches:
        """`Task.batches`: images in [0, 1], and noise of the latents' shape."""
        config, device = self.config, workers.device
        return Batches(
            self.images.to(device),
            torch.zeros(len(self.images), dtype=torch.int64, device=device),
            0,
            config.batch_size,
            lambda generator, count: torch.zeros(count),
            0.0,
            config.seed,
            workers.rank,
            workers.count,
            to_x0=to_image,
            noise_shape=tuple(self.family.shape),
        )

    def loss(self, network: nn.Module, draw: Draw) -> Tensor:
        """`Task.loss`: the network's own."""
        images = draw.x0.contiguous(memory_format=fastest_layout(draw.x0.device))
        loss: Tensor = network(images, draw.noise)
        return loss

    def trained(self, weights: Mapping[str, Tensor], device: str) -> Trained:
        """`Task.trained`: the codec, with the statistics of the latents of up to 4,096 training images."""
        network: CodecNetwork = filled(self.family.network, weights, device)  # type: ignore[assignment]  # it is both
        shape, number = tuple(self.family.shape), torch.tensor(0.0, device=device)
        plain = Codec(self._described({}), network, {}, number.expand(shape), (number + 1.0).expand(shape))
        generator = torch.Generator().manual_seed(key(self.config.seed, 5))
        chosen = self.images[torch.randperm(len(self.images), generator=generator)[:_FITTED]]
        mean, std = codecs.fit(plain.encode(to_image(chosen).to(device)).cpu(), self.family.statistics)
        tensors = {**weights, MEAN: mean, STD: std}
        described = self._described(tensors)
        codec = Codec(described, network, tensors, mean.to(device), std.to(device))
        header = attrs.evolve(self.header, codec=described)
        return Trained(header, {PREFIX + MEAN: mean, PREFIX + STD: std}, PREFIX, codec)

    def errors(self, ready: Codec, device: torch.device) -> list[dict[str, float]]:
        """`Task.errors`: mean squared error of held-out reconstructions in [0, 1], and mean and deviation of the
        standardised latents."""
        images = to_image(self.held_out[:_HELD_OUT]).to(device)
        states = ready.encode(images)
        error = (ready.decode(states) - images).square().mean()
        return [{"mse": float(error), "latent_mean": float(states.mean()), "latent_std": float(states.std())}]

    def pictures(self, ready: Codec, device: torch.device, stop: Stop) -> Tensor | None:
        """`Task.pictures`: held-out images, a row of them over a row of their reconstructions."""
        images = to_image(self.held_out[: 2 * _SHOWN]).to(device)
        pairs = zip(images.split(_SHOWN), ready.decode(ready.encode(images)).split(_SHOWN), strict=True)
        return torch.cat([part for pair in pairs if len(pair[0]) == _SHOWN for part in pair] or [images])

    def resumable(self) -> Mapping[str, Tensor]:
        """`Task.resumable`: nothing."""
        return {}

    def _described(self, tensors: Mapping[str, Tensor]) -> CodecHeader:
        return codecs.described(self.family, self.settings, tensors)


def to_image(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.to(torch.float32) / 255.0
