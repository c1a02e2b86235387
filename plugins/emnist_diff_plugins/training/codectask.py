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
from emnist_diff_plugins.training import evaluate, figures
from emnist_diff_plugins.training.batches import Batches, Draw, key, to_image
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_plugins.training.denoisertask import fastest_layout
from emnist_diff_plugins.training.layout import Kind
from emnist_diff_plugins.training.pictures import Picture, grid, reconstructions
from emnist_diff_plugins.training.task import Trained
from emnist_diff_plugins.training.workers import Workers
from emnist_diff_plugins.validation.walker import Stop

_FITTED, _MEASURED, _DRAWN = 4096, 256, 64
"""Images whose latents give the statistics, held-out images whose loss is measured, and latents drawn at the end."""

_LAST: tuple[Kind, ...] = ("final", "latents")
"""Where the reconstructions of the finished codec are shown."""


@attrs.frozen(eq=False)
class CodecTask:
    """`Task` of a codec. images, held_out: uint8 (N, C, H, W).  held_out_labels: (N,)."""

    config: TrainConfig
    registry: Registry
    family: CodecFamily
    settings: ComponentConfig
    network: nn.Module
    header: CheckpointHeader
    images: Tensor
    held_out: Tensor
    held_out_labels: Tensor
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
        return [evaluate.reconstruction(ready, self.held_out)]

    @torch.no_grad()
    def held_out_loss(self, ready: Codec, device: torch.device) -> float:
        """`Task.held_out_loss`: the network's own."""
        images = to_image(self.held_out[:_MEASURED]).to(device)
        generator = torch.Generator().manual_seed(key(self.config.seed, 6))
        noise = torch.randn((len(images), *self.family.shape), generator=generator).to(device)
        return float(ready.network(images, noise))

    def pictures(self, ready: Codec, device: torch.device, stop: Stop) -> list[Picture] | None:
        """`Task.pictures`: held-out images, a row of them over a row of their reconstructions, and their latents."""
        return [reconstructions("samples", ready, self.held_out, device), *self._latents(ready, device)]

    def last_pictures(self, ready: Codec, device: torch.device, stop: Stop) -> list[Picture] | None:
        """`Task.last_pictures`: the same, with more pairs, and images of latents that were drawn as noise is."""
        generator = torch.Generator().manual_seed(key(self.config.seed, 7))
        drawn = ready.decode(torch.randn((_DRAWN, *self.family.shape), generator=generator))
        pairs = [reconstructions(kind, ready, self.held_out, device, 4) for kind in _LAST]
        return [*pairs, grid("final", "drawn", drawn), *self._latents(ready, device)]

    def _latents(self, ready: Codec, device: torch.device) -> list[Picture]:
        states = ready.encode(to_image(self.held_out).to(device))
        return figures.latents("latents", states, self.held_out_labels, self.header.classes)

    def resumable(self) -> Mapping[str, Tensor]:
        """`Task.resumable`: nothing."""
        return {}

    def _described(self, tensors: Mapping[str, Tensor]) -> CodecHeader:
        return codecs.described(self.family, self.settings, tensors)
