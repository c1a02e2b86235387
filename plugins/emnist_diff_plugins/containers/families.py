"""What networks offer whose weights the checkpoints of this project hold: denoisers, codecs, and objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from emnist_diff.families import DenoiserFamily

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from emnist_diff.protocols import Denoiser
    from emnist_diff.timeline import ForwardProcess, PredictionType
    from emnist_diff_plugins.containers.checkpoint import CheckpointHeader

Statistics = Literal["element", "channel", "scale"]
"""How latents are standardised: by mean and deviation of each number, or of each channel (the first axis); or divided
by the deviation of all of them, about a mean that stays."""


@runtime_checkable
class NetworkFamily(DenoiserFamily, Protocol):
    """A family whose networks checkpoints hold: the header names it, with its settings."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""

    def with_weights(self, weights: Mapping[str, Tensor], header: CheckpointHeader, device: str) -> Denoiser:
        """The denoiser of a checkpoint's tensors and header, whose process and prediction it has. Raises
        `CheckpointError` for tensors that do not fit."""


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


@runtime_checkable
class CodecFamily(Protocol):
    """What a `contract.CodecSpec` names: an attrs class of the settings of an autoencoder. Networks of denoisers know
    nothing of it: a latent model is a denoiser whose states are its standardised latents."""

    @staticmethod
    def fitted(image_shape: tuple[int, ...]) -> Mapping[str, Any]:
        """The settings that images (C, H, W) decide. Raises `ConfigError` for images that the codec cannot take."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one latent."""

    @property
    def statistics(self) -> Statistics:
        """How its latents are standardised."""

    def network(self) -> torch.nn.Module:
        """The untrained network, a `CodecNetwork`; its state is what a checkpoint holds under ``codec/``."""


@runtime_checkable
class CodecNetwork(Protocol):
    """The module that a `CodecFamily` builds."""

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, *shape) of images (B, C, H, W) in [0, 1]; a function of the image alone."""

    def decode(self, latents: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of latents (B, *shape)."""

    def __call__(self, images: Tensor, noise: Tensor) -> Tensor:
        """The training loss, a scalar.  noise: (B, *shape), standard normal, for codecs whose latents are drawn."""


@runtime_checkable
class Objective(Protocol):
    """What a `contract.ObjectiveSpec` names: an attrs class that says on which forward process a denoiser is trained,
    and to predict what. Times are what the network is shown, (B,)."""

    def process(self, clip: float | None) -> ForwardProcess:
        """The forward process. clip: half-width of the range of pixels, None for latents; a flow ignores it."""

    @property
    def prediction_type(self) -> PredictionType:
        """What the network predicts."""

    @property
    def recommended(self) -> Mapping[str, Any]:
        """Settings of a run that suit such a model."""

    def timesteps(self, generator: torch.Generator, count: int) -> Tensor:
        """Training times drawn on the CPU, (count,)."""

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise of each time, (B,) float32 each: x_t = signal · x_0 + noise · eps."""

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should answer, (B, *shape)."""

    def weight(self, t: Tensor) -> Tensor | None:
        """The weight of each sample's squared error, (B,), or None where all weigh 1."""
