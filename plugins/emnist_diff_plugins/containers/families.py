"""What a family of networks offers whose weights the checkpoints of this project hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from emnist_diff.families import DenoiserFamily

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from emnist_diff.protocols import Denoiser
    from emnist_diff_plugins.containers.checkpoint import CheckpointHeader


@runtime_checkable
class NetworkFamily(DenoiserFamily, Protocol):
    """A family whose networks checkpoints hold: the header names it, with its settings."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""

    def with_weights(self, weights: Mapping[str, Tensor], header: CheckpointHeader, device: str) -> Denoiser:
        """The denoiser of a checkpoint's tensors and header. Raises `CheckpointError` for tensors that do not fit."""


@runtime_checkable
class TrainableFamily(NetworkFamily, Protocol):
    """A family that ``emnist-diff train`` can train."""

    @staticmethod
    def fitted(shape: tuple[int, ...], classes: int) -> Mapping[str, Any]:
        """The settings that the data decides: states of `shape`, and `classes` indices with one more for "no class".
        Raises `ConfigError` for data that the family cannot take."""

    def network(self) -> torch.nn.Module:
        """The untrained network; its state is what a checkpoint holds."""

    def evaluate(self, network: torch.nn.Module, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """The network's prediction with gradients: x (B, *shape), t (B,) float32 timesteps, index (B,) class indices
        → (B, *shape)."""
