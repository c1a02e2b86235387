"""Class-conditional UNets: diffusers' `UNet2DModel` with one embedding a class and one for "no class"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import torch
from attrs import validators as v
from diffusers import UNet2DModel
from torch import Tensor

from emnist_diff.conditions import ConditionSpace, RowConditions
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.protocols import NoiseSchedule, PredictionType


@attrs.frozen
class UNet2D:
    """A `UNet2DModel` that sees a class index beside the timestep.

    Example: ``emnist-diff train unet2d --channels 32,64,128``
    """

    sample_size: int = attrs.field(default=28, validator=v.ge(1), metadata={"help": "height and width in pixels"})
    channels: int = attrs.field(default=1, validator=v.ge(1), metadata={"help": "image channels"})
    block_out_channels: tuple[int, ...] = attrs.field(
        default=(32, 64, 128), metadata={"help": "channels of each level, full resolution first"}
    )
    layers_per_block: int = attrs.field(default=1, validator=v.ge(1), metadata={"help": "residual layers a level"})
    attention: tuple[bool, ...] = attrs.field(
        default=(False, False, True), metadata={"help": "which levels have self-attention"}
    )
    resnet_time_scale_shift: str = attrs.field(
        default="scale_shift",
        validator=v.in_(("default", "scale_shift")),
        metadata={"help": "how time and class enter: added, or as scale and shift"},
    )
    norm_num_groups: int = attrs.field(default=8, validator=v.ge(1), metadata={"help": "groups of the group norms"})
    attention_head_dim: int = attrs.field(default=32, validator=v.ge(1), metadata={"help": "channels of a head"})
    num_class_embeds: int = attrs.field(
        default=63, validator=v.ge(1), metadata={"help": "classes, and one for no class"}
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
        attending = zip(self.block_out_channels, (*self.attention[:-1], True), strict=True)  # the middle always does
        if narrow := [width for width, attends in attending if attends and width < self.attention_head_dim]:
            raise ConfigError(
                f"unet2d: attention_head_dim = {self.attention_head_dim} is more than a level's {narrow[0]} channels"
            )

    def network(self) -> UNet2DModel:
        """The untrained network, with diffusers' initialisation. Raises `ConfigError` when it refuses the settings."""
        try:
            return UNet2DModel(
                sample_size=self.sample_size,
                in_channels=self.channels,
                out_channels=self.channels,
                layers_per_block=self.layers_per_block,
                block_out_channels=self.block_out_channels,
                down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in self.attention),
                up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(self.attention)),
                resnet_time_scale_shift=self.resnet_time_scale_shift,
                norm_num_groups=self.norm_num_groups,
                attention_head_dim=self.attention_head_dim,
                num_class_embeds=self.num_class_embeds,
                dropout=self.dropout,
            )
        except Exception as error:  # diffusers and torch have no one way to refuse
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"unet2d: no network can be built with these settings: {reason}") from error

    @staticmethod
    def fitted(shape: tuple[int, ...], classes: int) -> dict[str, Any]:
        """`TrainableFamily.fitted`: square images; the row after the last class is the null class."""
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ConfigError(f"unet2d: images must be square, (C, H, H), got {shape}")
        return {"channels": shape[0], "sample_size": shape[1], "num_class_embeds": classes + 1}

    def evaluate(self, network: torch.nn.Module, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """`TrainableFamily.evaluate`."""
        prediction: Tensor = network(x, t, class_labels=index).sample
        return prediction

    def denoiser(self, weights: Mapping[str, Tensor] | None, header: Any, device: str) -> UNet2DDenoiser:
        """The network with these weights, ready to be asked.

        Raises `CheckpointError` when a tensor is missing, foreign, or has another shape than the network's.
        """
        if weights is None or header is None:
            raise ConfigError("denoiser 'unet2d' needs weights — say --checkpoint FILE")
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
        with torch.device("meta"):  # shapes only: what the header claims costs nothing until the tensors match it
            network = self.network()
        own = network.state_dict()
        missing, foreign = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
        wrong = [k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape]
        for what, names in (("lacks", missing), ("has foreign", foreign), ("has mis-shaped", sorted(wrong))):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                raise CheckpointError(f"the checkpoint does not fit its header: it {what} tensor {names[0]!r}{more}")
        network = network.to_empty(device="cpu")
        network.load_state_dict(weights)
        layout = torch.channels_last if device == "cpu" else torch.contiguous_format  # faster convolutions on a CPU
        network = network.to(device=device, memory_format=layout).eval().requires_grad_(False)
        space = ConditionSpace(header.classes, header.null_index, header.merged)
        return UNet2DDenoiser(network, (self.channels, self.sample_size, self.sample_size), space, header.schedule,
                              header.prediction)  # fmt: skip


@attrs.frozen(eq=False)
class UNet2DDenoiser:
    """`protocols.Denoiser` over a loaded network; states are images in [-1, 1]."""

    network: UNet2DModel
    shape: tuple[int, ...]
    conditions: ConditionSpace
    schedule: NoiseSchedule
    prediction: PredictionType

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The network's output: x (R, C, H, W), t (R,) timesteps → (R, C, H, W)."""
        return self.network(x, t, class_labels=conds.index).sample.contiguous()

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1]: clamp((x + 1) / 2)."""
        return ((x + 1.0) / 2.0).clamp(0.0, 1.0)
