"""What each step sees: images in an order, and randomness, that depend on the seed and the step alone.

Nothing here keeps state, so a run that is stopped anywhere resumes by knowing its step.
"""

from __future__ import annotations

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


@attrs.frozen(eq=False)
class Draw:
    """One worker's share of one step: images x0 (B, *shape) in [-1, 1], class indices (B,), timesteps (B,), noise
    (B, *shape), all on the training device."""

    x0: Tensor
    index: Tensor
    timestep: Tensor
    noise: Tensor


@attrs.define(eq=False)
class Batches:
    """The training images, decoded once and kept on the device as uint8, and how steps draw from them.

    images: uint8 (N, *shape).  labels: int64 (N,).  null_index: the row for "no class".
    An epoch is ``N // batch_size`` steps over a fresh permutation; its remainder is left out.
    """

    images: Tensor
    labels: Tensor
    null_index: int
    batch_size: int
    train_timesteps: int
    label_dropout: float
    seed: int
    rank: int = 0
    workers: int = 1
    _order: tuple[int, Tensor] | None = None

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
        timestep = torch.randint(0, self.train_timesteps, (self.batch_size,), generator=generator)
        unlabelled = torch.rand(self.batch_size, generator=generator) < self.label_dropout
        noise = torch.randn((self.batch_size, *self.images.shape[1:]), generator=generator)
        mine = slice(self.rank, None, self.workers)
        device = self.images.device
        picked = chosen[mine].to(device)
        index = self.labels[picked].masked_fill(unlabelled[mine].to(device), self.null_index)
        return Draw(to_state(self.images[picked]), index, timestep[mine].to(device), noise[mine].to(device))

    def network_seed(self, step: int) -> int:
        """The seed of what the network itself draws in a step (dropout)."""
        return key(self.seed, _NETWORK, step, self.rank)


def to_state(images: Tensor) -> Tensor:
    """uint8 images (B, C, H, W) as float32 states in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1.0
