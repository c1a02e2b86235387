"""The dense denoiser of document 004: time and class scale and shift every layer (FiLM; Perez et al., 2018,
arXiv:1709.07871)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import torch
from attrs import validators as v
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff.brief import briefly
from emnist_diff.conditions import RowConditions
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.families import Source
from emnist_diff.onethread import one_thread
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.containers.checkpoint import MOST_CLASSES, CheckpointHeader
from emnist_diff_plugins.containers.rowwise import silu
from emnist_diff_plugins.containers.weights import filled
from emnist_diff_plugins.fields import between, setting
from emnist_diff_plugins.inside.capturing import Inside
from emnist_diff_plugins.spaces import ClassSpace

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry

_WIDEST = 65_536


@attrs.frozen
class Film:
    """A dense network over vectors that sees a class index beside the timestep; with its defaults document 004's, and
    one embedding a class and one for "no class".

    Example: ``emnist-diff train film --codec ae --objective "diffusion:prediction=epsilon,beta_schedule=linear"``
    """

    size: int = setting(16, "numbers of a state", between(1, _WIDEST))
    hidden: int = setting(256, "units of each layer", between(1, _WIDEST))
    blocks: int = setting(4, "residual blocks, of two layers each", between(1, 256))
    time_width: int = setting(128, "sines and cosines of the timestep", between(1, _WIDEST))
    num_class_embeds: int = setting(11, "classes, and one for no class", between(1, MOST_CLASSES + 1))
    dropout: float = setting(0.0, "dropout rate", v.and_(v.ge(0), v.lt(1)))

    @property
    def shape(self) -> tuple[int, ...]:
        """`NetworkFamily.shape`: vectors."""
        return (self.size,)

    def source(self, registry: Registry) -> Source:
        """`DenoiserFamily.source`. Raises `ConfigError`: without weights there is nothing to run."""
        raise ConfigError("denoiser 'film' needs weights — use --checkpoint FILE instead of --denoiser")

    @staticmethod
    def fitted(shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        """`TrainableFamily.fitted`: vectors; the row after the last class is the null class."""
        if len(shape) != 1:
            raise ConfigError(
                f"film: states must be vectors, and these are of shape {tuple(shape)} — name a --codec of "
                "vectors, such as conv_ae, or train unet2d"
            )
        return {"size": shape[0], "num_class_embeds": classes + 1}

    def network(self) -> FilmNetwork:
        """`TrainableFamily.network`."""
        return FilmNetwork(self)

    def evaluate(self, network: nn.Module, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """`TrainableFamily.evaluate`."""
        prediction: Tensor = network(x, t, index)
        return prediction

    def with_weights(self, weights: Mapping[str, Tensor], header: CheckpointHeader, device: str) -> FilmDenoiser:
        """`NetworkFamily.with_weights`. Raises `CheckpointError` for tensors or classes that do not fit."""
        rows = [len(header.classes) - 1] + ([] if header.null_index is None else [header.null_index])
        if max(rows) >= self.num_class_embeds:
            raise CheckpointError(
                f"the checkpoint does not fit its header: class index {max(rows)} of {self.num_class_embeds} embeddings"
            )
        if len(weights) < self.blocks:
            raise CheckpointError(
                f"the checkpoint does not fit its header: {len(weights)} tensors cannot fill {self.blocks} blocks"
            )
        space = ClassSpace(header.classes, header.null_index, header.merged)
        network = filled(self.network, weights, device)
        return FilmDenoiser(network, self.shape, space, header.schedule, header.prediction)


class FilmLayer(nn.Module):
    """Normed, scaled and shifted by time and class, and mixed."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.modulation = nn.Linear(hidden, 2 * hidden)
        nn.init.normal_(self.modulation.weight, std=0.02)  # nearly the identity, and classes differ from the start
        nn.init.zeros_(self.modulation.bias)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor, embedded: Tensor) -> Tensor:
        scale, shift = self.modulation(embedded).chunk(2, dim=1)
        out: Tensor = self.linear(self.dropout(silu((1.0 + scale) * self.norm(h) + shift)))
        return out


class FilmNetwork(nn.Module):
    """The network: residual blocks of two `FilmLayer` each."""

    def __init__(self, settings: Film) -> None:
        super().__init__()
        hidden, self.time_width = settings.hidden, settings.time_width
        self.time = nn.Sequential(nn.Linear(self.time_width, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.class_embedding = nn.Embedding(settings.num_class_embeds, hidden)
        self.inward = nn.Linear(settings.size, hidden)
        self.layers = nn.ModuleList(FilmLayer(hidden, settings.dropout) for _ in range(2 * settings.blocks))
        self.norm = nn.LayerNorm(hidden)
        self.outward = nn.Linear(hidden, settings.size)

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """x (R, D), t (R,) float32 timesteps, index (R,) int64 → (R, D)."""
        half = self.time_width // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = t.float()[:, None] * frequencies
        waves = F.pad(torch.cat((angles.sin(), angles.cos()), dim=1), (0, self.time_width % 2))
        embedded = self.time(waves.to(self.inward.weight.dtype)) + self.class_embedding(index)
        h = silu(self.inward(x))
        for first, second in zip(self.layers[::2], self.layers[1::2], strict=True):
            h = h + second(first(h, embedded), embedded)
        out: Tensor = self.outward(silu(self.norm(h)))
        return out


@briefly
@attrs.frozen(eq=False)
class FilmDenoiser(Inside):
    """`protocols.Denoiser` over a loaded network; states are vectors."""

    network: FilmNetwork
    shape: tuple[int, ...]
    conditions: ConditionSpace
    process: ForwardProcess
    prediction_type: PredictionType

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of `decode`."""
        return (1, 1, *self.shape)

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The network's output: x (R, D), t (R,) timesteps → (R, D)."""
        with one_thread(x.device):
            prediction: Tensor = self.network(x, t, conds.index)
        return prediction

    def inside(self, variant: str = "") -> nn.Module:
        """See `Inside.inside`."""
        return self.network

    def module(self, variant: str = "") -> nn.Module:
        """`Exportable`: the network of tensors."""
        return self.network

    def decode(self, x: Tensor) -> Tensor:
        """A vector shown as a row of pixels, where no codec says what it is: clamp((x + 1) / 2)."""
        return ((x + 1.0) / 2.0).clamp(0.0, 1.0)[:, None, None]
