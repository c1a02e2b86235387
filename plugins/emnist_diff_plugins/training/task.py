"""What the training loop trains: the contract of a task, and its two kinds in the files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, nn

from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_plugins.training.batches import Batches, Draw
from emnist_diff_plugins.training.pictures import Picture
from emnist_diff_plugins.training.workers import Workers
from emnist_diff_plugins.validation.walker import Stop


@attrs.frozen(eq=False)
class Trained:
    """A network as a checkpoint holds it.

    header: of that checkpoint, without epoch and figures.  tensors: beside the network's own, by their names there.
    prefix: before the names of the network's own tensors.  ready: what `Task.errors` and `Task.pictures` are asked of.
    """

    header: CheckpointHeader
    tensors: Mapping[str, Tensor]
    prefix: str
    ready: Any


class Task(Protocol):
    """What the loop trains: it draws batches, says the loss of one, and judges what was learnt. Loop, average,
    optimizer, state to resume from and workers are the same for all tasks."""

    @property
    def network(self) -> nn.Module:
        """The network under training."""

    @property
    def header(self) -> CheckpointHeader:
        """What every checkpoint says, without epoch and figures."""

    @property
    def table(self) -> str:
        """The name of the figures of `errors` in files and headers."""

    @property
    def origin(self) -> Mapping[str, Any] | None:
        """File and hash of the checkpoint that the weights started from, if there was one."""

    def batches(self, workers: Workers) -> Batches:
        """How steps draw. Raises `ConfigError` when batches do not fit the images."""

    def loss(self, network: nn.Module, draw: Draw) -> Tensor:
        """The loss of one worker's share of a step, a scalar.  network: `Task.network`, as the loop calls it."""

    def trained(self, weights: Mapping[str, Tensor], device: str) -> Trained:
        """The network with these weights, as a checkpoint holds it."""

    def errors(self, ready: Any, device: torch.device) -> list[dict[str, float]]:
        """What held-out images say of it, rows of figures by name, the same names in each."""

    def held_out_loss(self, ready: Any, device: torch.device) -> float:
        """The training loss of held-out images, with the same noise each time."""

    def pictures(self, ready: Any, device: torch.device, stop: Stop) -> list[Picture] | None:
        """What a person looks at while training; None where `stop` says so on the way."""

    def last_pictures(self, ready: Any, device: torch.device, stop: Stop) -> list[Picture] | None:
        """What a person looks at when training is over; None where `stop` says so on the way."""

    def resumable(self) -> Mapping[str, Tensor]:
        """What the state to resume from keeps beside the network."""
