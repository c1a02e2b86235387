"""Class-conditional UNets: diffusers' `UNet2DModel`, with one embedding a class and one for "no class"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.conditions import RowConditions
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.families import Source
from emnist_diff.onethread import one_thread
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.containers.checkpoint import MOST_CLASSES, CheckpointHeader
from emnist_diff_plugins.containers.weights import filled
from emnist_diff_plugins.denoisers import _attention, _skipping
from emnist_diff_plugins.denoisers._unet import Sizes, UNet
from emnist_diff_plugins.inside.capturing import Inside
from emnist_diff_plugins.inside.layers import Layout
from emnist_diff_plugins.spaces import ClassSpace
from emnist_diff_plugins.variants import Variant, require

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry

_LARGEST_SIDE, _WIDEST, _MOST_LEVELS, _MOST_LAYERS = 4096, 16_384, 12, 64
"""Bounds on settings, far above what anybody trains here: a header cannot ask for what no machine holds."""


def _from_1(most: int) -> Any:
    return v.and_(v.ge(1), v.le(most))


@attrs.frozen
class UNet2D:
    """A `UNet2DModel` that sees a class index beside the timestep.

    Example: ``emnist-diff train unet2d --channels 32,64,128``
    """

    sample_size: int = attrs.field(
        default=28, validator=_from_1(_LARGEST_SIDE), metadata={"help": "height and width in pixels"}
    )
    channels: int = attrs.field(default=1, validator=_from_1(_WIDEST), metadata={"help": "image channels"})
    block_out_channels: tuple[int, ...] = attrs.field(
        default=(32, 64, 128),
        validator=v.and_(v.max_len(_MOST_LEVELS), v.deep_iterable(_from_1(_WIDEST))),
        metadata={"help": "channels of each level, full resolution first"},
    )
    layers_per_block: int = attrs.field(
        default=1, validator=_from_1(_MOST_LAYERS), metadata={"help": "residual layers a level"}
    )
    attention: tuple[bool, ...] = attrs.field(
        default=(False, False, True), metadata={"help": "which levels have self-attention"}
    )
    resnet_time_scale_shift: str = attrs.field(
        default="scale_shift",
        validator=v.in_(("default", "scale_shift")),
        metadata={"help": "how time and class enter: added, or as scale and shift"},
    )
    norm_num_groups: int = attrs.field(
        default=8, validator=_from_1(_WIDEST), metadata={"help": "groups of the group norms"}
    )
    attention_head_dim: int = attrs.field(
        default=32, validator=_from_1(_WIDEST), metadata={"help": "channels of a head"}
    )
    num_class_embeds: int = attrs.field(
        default=63, validator=_from_1(MOST_CLASSES + 1), metadata={"help": "classes, and one for no class"}
    )
    conditioning: Literal["embedding", "concat", "cross"] = attrs.field(
        default="embedding",
        metadata={"help": "how the class enters: embedding (with the time), concat (a plane), cross (attention)"},
    )
    tokens: int = attrs.field(default=1, validator=_from_1(1024), metadata={"help": "cross: tokens of a class"})
    cross_attention_dim: int = attrs.field(
        default=128, validator=_from_1(_WIDEST), metadata={"help": "cross: numbers of a token"}
    )
    dropout: float = attrs.field(default=0.0, validator=v.and_(v.ge(0), v.lt(1)), metadata={"help": "dropout rate"})

    def __attrs_post_init__(self) -> None:
        if len(self.attention) != len(self.block_out_channels):
            raise ConfigError(
                f"unet2d: attention has {len(self.attention)} levels, block_out_channels {len(self.block_out_channels)}"
            )
        for width in self.block_out_channels:
            if width % self.norm_num_groups:
                raise ConfigError(f"unet2d: {width} channels do not divide into {self.norm_num_groups} groups")
        if not self.block_out_channels:
            raise ConfigError("unet2d: block_out_channels names no level")
        if (more := -self.sample_size % 2 ** (len(self.block_out_channels) - 1)) and more >= self.sample_size:
            raise ConfigError(
                f"unet2d: {self.sample_size} pixels are too few for {len(self.block_out_channels)} levels"
            )
        attending = zip(self.block_out_channels, (*self.attention[:-1], True), strict=True)  # the middle always does
        if narrow := [width for width, attends in attending if attends and width < self.attention_head_dim]:
            raise ConfigError(
                f"unet2d: attention_head_dim = {self.attention_head_dim} is more than a level's {narrow[0]} channels"
            )

    def network(self) -> UNet:
        """The untrained network, initialised as in diffusers. Raises `ConfigError` when torch refuses the settings."""
        try:
            return UNet(
                Sizes(
                    channels=self.channels,
                    widths=self.block_out_channels,
                    layers=self.layers_per_block,
                    attention=self.attention,
                    scale_shift=self.resnet_time_scale_shift == "scale_shift",
                    groups=self.norm_num_groups,
                    head=self.attention_head_dim,
                    classes=self.num_class_embeds,
                    dropout=self.dropout,
                    conditioning=self.conditioning,
                    side=self.sample_size,
                    tokens=self.tokens,
                    context=self.cross_attention_dim,
                )
            )
        except Exception as error:  # torch has no one way to refuse
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"unet2d: no network can be built with these settings: {reason}") from error

    @property
    def shape(self) -> tuple[int, ...]:
        """`NetworkFamily.shape`: images (C, H, W)."""
        return (self.channels, self.sample_size, self.sample_size)

    def source(self, registry: Registry) -> Source:
        """`DenoiserFamily.source`. Raises `ConfigError`: without weights there is nothing to run."""
        raise ConfigError("denoiser 'unet2d' needs weights — use --checkpoint FILE instead of --denoiser")

    @staticmethod
    def fitted(shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        """`TrainableFamily.fitted`: square images; the row after the last class is the null class."""
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ConfigError(
                f"unet2d: images must be square, (C, H, H), got {shape} — train film on vectors, or name a --codec of "
                "small images, such as vae"
                if len(shape) != 3
                else f"unet2d: images must be square, (C, H, H), got {shape}"
            )
        return {"channels": shape[0], "sample_size": shape[1], "num_class_embeds": classes + 1}

    def evaluate(self, network: torch.nn.Module, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """`TrainableFamily.evaluate`."""
        prediction: Tensor = network(x, t, index)
        return prediction

    def with_weights(self, weights: Mapping[str, Tensor], header: CheckpointHeader, device: str) -> UNet2DDenoiser:
        """The network with these weights, ready to be asked.

        Raises `CheckpointError` when a tensor is missing, foreign, or has another shape than the network's.
        """
        rows = [len(header.classes) - 1] + ([] if header.null_index is None else [header.null_index])
        if not 0 <= max(rows) < self.num_class_embeds:
            raise CheckpointError(
                f"the checkpoint does not fit its header: class index {max(rows)} of {self.num_class_embeds} embeddings"
            )
        if self.layers_per_block * len(self.block_out_channels) > len(weights):
            raise CheckpointError(
                f"the checkpoint does not fit its header: {len(weights)} tensors cannot fill "
                f"{len(self.block_out_channels)} levels of {self.layers_per_block} layers"
            )
        network = filled(self.network, weights, device)
        space = ClassSpace(header.classes, header.null_index, header.merged)
        return UNet2DDenoiser(network, self.shape, space, header.schedule, header.prediction)


@briefly
@attrs.frozen(eq=False)
class UNet2DDenoiser(Inside):
    """`protocols.Denoiser` over a loaded network; states are images in [-1, 1].

    variants: those of its attention, see `_attention`, and with layers skipped, see `_skipping`.
    """

    network: UNet
    shape: tuple[int, ...]
    conditions: ConditionSpace
    process: ForwardProcess
    prediction_type: PredictionType
    variants: tuple[str, ...] = (*_attention.VARIANTS, _skipping.SKIPPING)
    _networks: dict[str, torch.nn.Module] = attrs.field(factory=dict, init=False)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of `decode`: that of states."""
        return self.shape

    def network_of(self, variant: str) -> torch.nn.Module:
        """The network as this variant asks for it. Raises `ConfigError` for one that is not declared, and for layers
        to skip that are not there."""
        if not variant:
            return self.network
        if variant not in self._networks:
            require(self, variant, "unet2d")
            requested = Variant.parse(variant)
            skips = requested.name == _skipping.NAME
            changed = _skipping.without_layers if skips else _attention.perturbed
            self._networks[variant] = changed(self.network, requested)
        return self._networks[variant]

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The network's output: x (R, C, H, W), t (R,) timesteps → (R, C, H, W)."""
        with one_thread(x.device):
            prediction: Tensor = self.network_of(conds.variant)(x, t, conds.index)
        return prediction.contiguous()

    def inside(self, variant: str = "") -> torch.nn.Module:
        """See `Inside.inside`."""
        return self.network_of(variant)

    def layout(self) -> Layout:
        """See `Inside.layout`: a grid for each level of the network."""
        step = self.network.step
        sides = [side + -side % step for side in self.shape[1:]]
        grids = [(sides[0] >> level, sides[1] >> level) for level in range(step.bit_length())]
        return Layout(tuple(grids), self.network.tokens if self.network.conditioning == "cross" else 0)

    def module(self, variant: str = "") -> torch.nn.Module:
        """`Exportable`: the network of tensors."""
        return self.network_of(variant)

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1]: clamp((x + 1) / 2)."""
        return ((x + 1.0) / 2.0).clamp(0.0, 1.0)
