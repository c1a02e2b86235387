"""What each step sees: images in an order, and randomness, that depend on the seed and the step alone.

Nothing here keeps state, so a run that is stopped anywhere resumes by knowing its step.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.errors import ConfigError

_ORDER, _DRAWS, _NETWORK = range(3)


def key(seed: int, *path: int) -> int:
    """A 63-bit seed for one purpose, independent of every other path's."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _generator(seed: int, *path: int) -> torch.Generator:
    return torch.Generator().manual_seed(key(seed, *path))


def to_state(images: Tensor) -> Tensor:
    """uint8 images (B, C, H, W) as float32 states in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1.0


def to_image(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0, 1]."""
    return images.to(torch.float32) / 255.0


@attrs.frozen(eq=False)
class Draw:
    """One worker's share of one step: x0 (B, *shape), class indices (B,), timesteps (B,), noise (B, *shape), all on the
    training device."""

    x0: Tensor
    index: Tensor
    timestep: Tensor
    noise: Tensor


@attrs.define(eq=False)
class Batches:
    """The training images, decoded once and kept on the device as uint8, or their latents; and how steps draw from
    them.

    images: uint8 (N, *shape), or float32.  labels: int64 (N,).  null_index: the row for "no class".
    timesteps: draws so many training times.  to_x0: makes of images what is learnt.  noise_shape: that of a sample's
    noise, None for the images' own.
    An epoch is ``N // batch_size`` steps over a fresh permutation; its remainder is left out.
    """

    images: Tensor
    labels: Tensor
    null_index: int
    batch_size: int
    timesteps: Callable[[torch.Generator, int], Tensor]
    label_dropout: float
    seed: int
    rank: int = 0
    workers: int = 1
    to_x0: Callable[[Tensor], Tensor] = attrs.field(default=to_state, kw_only=True)
    noise_shape: tuple[int, ...] | None = attrs.field(default=None, kw_only=True)
    _order: tuple[int, Tensor] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if len(self.images) < self.batch_size:
            raise ConfigError(
                f"batch_size = {self.batch_size} is more than the {len(self.images)} training images — ask for less"
            )
        if self.batch_size % self.workers:
            raise ConfigError(f"batch_size = {self.batch_size} does not divide among {self.workers} workers")

    @property
    def steps_per_epoch(self) -> int:
        return len(self.images) // self.batch_size

    def draw(self, step: int) -> Draw:
        """This worker's share of step `step`, counted from 0 over the whole run."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            order = torch.randperm(len(self.images), generator=_generator(self.seed, _ORDER, epoch))
            self._order = (epoch, order)
        chosen = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        generator = _generator(self.seed, _DRAWS, step)
        timestep = self.timesteps(generator, self.batch_size)
        unlabelled = torch.rand(self.batch_size, generator=generator) < self.label_dropout
        shape = self.images.shape[1:] if self.noise_shape is None else self.noise_shape
        noise = torch.randn((self.batch_size, *shape), generator=generator)
        own = slice(self.rank, None, self.workers)
        device = self.images.device
        picked = chosen[own].to(device)
        index = self.labels[picked].masked_fill(unlabelled[own].to(device), self.null_index)
        return Draw(self.to_x0(self.images[picked]), index, timestep[own].to(device), noise[own].to(device))

    def network_seed(self, step: int) -> int:
        """The seed of what the network itself draws in a step (dropout)."""
        return key(self.seed, _NETWORK, step, self.rank)
