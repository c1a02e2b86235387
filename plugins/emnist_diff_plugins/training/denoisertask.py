"""Training of denoisers, of pixels or of latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.containers.codecs import Codec
from emnist_diff_plugins.containers.families import Objective, TrainableFamily
from emnist_diff_plugins.denoisers.coded import Coded
from emnist_diff_plugins.training import evaluate, figures, objective
from emnist_diff_plugins.training.batches import Batches, Draw, to_state
from emnist_diff_plugins.training.config import TrainConfig
from emnist_diff_plugins.training.pictures import Picture, reconstructions
from emnist_diff_plugins.training.sampling import Sampler
from emnist_diff_plugins.training.task import Trained
from emnist_diff_plugins.training.workers import Workers
from emnist_diff_plugins.validation.walker import Stop

_EACH, _MOST_LAST = 10, 100
"""Samples of a class, and of all, at the end."""


@attrs.frozen(eq=False)
class DenoiserTask:
    """`Task` of a denoiser.

    items: what is learnt, uint8 images (N, C, H, W), or their states where there is a codec; labels: (N,).
    probe: held-out states.
    """

    config: TrainConfig
    registry: Registry
    family: TrainableFamily
    network: nn.Module
    header: CheckpointHeader
    objective: Objective
    items: Tensor
    labels: Tensor
    probe: evaluate.Probe
    codec: Codec | None = None
    origin: Mapping[str, Any] | None = None
    table: str = "x0_error"

    def batches(self, workers: Workers) -> Batches:
        """`Task.batches`."""
        config, device = self.config, workers.device
        return Batches(
            self.items.to(device),
            self.labels.to(device),
            len(self.header.classes),
            config.batch_size,
            self.objective.timesteps,
            config.label_dropout,
            config.seed,
            workers.rank,
            workers.count,
            to_x0=to_state if self.codec is None else as_it_is,
        )

    def loss(self, network: nn.Module, draw: Draw) -> Tensor:
        """`Task.loss`: the weighted squared error of the prediction."""
        x = objective.noised(draw.x0, draw.noise, self.objective.rates(draw.timestep))
        if x.dim() == 4:
            x = x.contiguous(memory_format=fastest_layout(x.device))
        wanted = self.objective.target(draw.x0, draw.noise, draw.timestep)
        answer = self.family.evaluate(network, x, draw.timestep.float(), draw.index)
        return objective.loss(answer, wanted, self.objective.weight(draw.timestep))

    def trained(self, weights: Mapping[str, Tensor], device: str) -> Trained:
        """`Task.trained`: the denoiser, and beside its tensors those of its codec."""
        denoiser = self.family.with_weights(weights, self.header, device)
        if self.codec is None:
            return Trained(self.header, {}, "", denoiser)
        return Trained(self.header, self.codec.stored(), "", Coded(denoiser, self.codec))

    def errors(self, ready: Denoiser, device: torch.device) -> list[dict[str, float]]:
        """`Task.errors`: of x0, by noise level, with the right class, with none and with a wrong one."""
        return evaluate.x0_error(ready, self.header, self.probe, device)

    def held_out_loss(self, ready: Denoiser, device: torch.device) -> float:
        """`Task.held_out_loss`, with the right classes."""
        return evaluate.held_out_loss(ready, self.objective, self.probe, device)

    def pictures(self, ready: Denoiser, device: torch.device, stop: Stop) -> list[Picture] | None:
        """`Task.pictures`: one sample of each class by the recommended settings, and at guidance 0 and 1."""
        return Sampler.of(ready, self.header, self.registry, device).grids(self._guidances, stop)

    def last_pictures(self, ready: Denoiser, device: torch.device, stop: Stop) -> list[Picture] | None:
        """`Task.last_pictures`: samples, of which a row is of one class; from noise to image; and where there is a
        codec, what it leaves of held-out images, and their latents with samples among them."""
        sampler = Sampler.of(ready, self.header, self.registry, device)
        each = max(1, min(_EACH, _MOST_LAST // sampler.classes))
        samples = sampler.grids(self._guidances, stop, each)
        denoising = None if samples is None else sampler.denoising(stop)
        if samples is None or denoising is None:
            return None
        final = [attrs.evolve(picture, kind="final", name=picture.name or "samples") for picture in samples]
        return [*final, *denoising, *self._latents(sampler, device, stop)]

    @property
    def _guidances(self) -> tuple[float, ...]:
        """What is shown beside the recommended guidance; "no class" only where it was learnt."""
        return (0.0, 1.0) if self.config.label_dropout else (1.0,)

    def _latents(self, sampler: Sampler, device: torch.device, stop: Stop) -> list[Picture]:
        if self.codec is None:
            return []
        pairs = reconstructions("latents", self.codec, self.probe.images, device)
        each = max(1, min(_EACH, _MOST_LAST // sampler.classes))
        labels = [label for label in range(min(sampler.classes, _MOST_LAST)) for _ in range(each)]
        drawn = sampler.samples(labels, sampler.guidance, stop)
        crosses = None if drawn is None else (drawn[0], torch.tensor(labels))
        return [pairs, *figures.latents("latents", self.probe.x0, self.probe.labels, self.header.classes, crosses)]

    def resumable(self) -> Mapping[str, Tensor]:
        """`Task.resumable`: the codec, so that its file may be moved."""
        return {} if self.codec is None else self.codec.stored()


def as_it_is(states: Tensor) -> Tensor:
    """States need no conversion."""
    return states


def fastest_layout(device: torch.device) -> torch.memory_format:
    """The layout on which convolutions are fastest."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format
