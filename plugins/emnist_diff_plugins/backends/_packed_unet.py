"""The network of `unet2d` for many calls of one size on a CPU: the same function of the same weights as `_unet.UNet`.

Images are channels last throughout; weights are packed once for oneDNN; upsampling is part of the convolution after it;
one linear layer projects time and class for all residual layers, and another makes query, key and value; norm,
scale, shift and activation share passes; convolutions add their result to the shortcut. Sums have another order,
so the last bits differ.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from emnist_diff_plugins.backends import _packed as packed
from emnist_diff_plugins.backends._group_norm import GroupNorm
from emnist_diff_plugins.backends._silu import silu_
from emnist_diff_plugins.containers.rowwise import Conv2d, Linear, SiLU, attended
from emnist_diff_plugins.denoisers import _unet
from emnist_diff_plugins.denoisers._attention import Perturbed

_PARTS = (
    _unet.UNet, _unet.Stage, _unet.Residual, _unet.Attention, _unet.Upsample, _unet.Downsample, _unet.TimeEmbedding,
    Perturbed, Conv2d, Linear, SiLU,
)  # fmt: skip


def known(network: nn.Module) -> TypeGuard[_unet.UNet]:
    """Whether it is a network of `unet2d` down to its last part, so that `PackedUNet` computes the same."""
    parts = (part for part in network.modules() if not type(part).__module__.startswith("torch."))
    # what is mirrored out at its borders is not packed
    plain = type(network) is _unet.UNet and network.conditioning == "embedding" and network.side % network.step == 0
    return plain and all(type(part) in _PARTS for part in parts)


class PackedUNet(nn.Module):
    """`network`, for calls of `rows` images of `size` = (H, W), computing in `dtype`."""

    def __init__(self, network: _unet.UNet, rows: int, size: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        self.rows, self.dtype = rows, dtype
        self.time_embedding = copy.deepcopy(network.time_embedding)
        self.class_embedding = copy.deepcopy(network.class_embedding)
        stages = [*network.down_blocks, network.mid_block, *network.up_blocks]
        self.embedding_layer = _Embeddings([layer for stage in stages for layer in stage.resnets], rows)
        sizes = [size]
        for block in network.down_blocks:
            if block.downsamplers is not None:
                sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        self.conv_in = self._conv(network.conv_in, size)
        self.down: _unet.Modules[_Stage] = _unet.Modules(
            _Stage(self._layers(block, hw), [self._conv(down.conv, hw) for down in block.downsamplers or ()])
            for block, hw in zip(network.down_blocks, sizes, strict=True)
        )
        self.middle = _Stage(self._layers(network.mid_block, sizes[-1]), ())
        self.up: _unet.Modules[_Stage] = _unet.Modules(
            _Stage(
                self._layers(block, hw),
                [packed.upsampling_conv(up.conv, (rows, *hw), dtype) for up in block.upsamplers or ()],
            )
            for block, hw in zip(network.up_blocks, reversed(sizes), strict=True)
        )
        self.norm_out = GroupNorm(network.conv_norm_out, dtype)
        self.conv_out = self._conv(network.conv_out, size)

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """As `UNet.forward`, for `rows` rows."""
        embeddings = iter(self.embedding_layer(self.time_embedding(t) + self.class_embedding(index)))
        h = self.conv_in(x.to(self.dtype, memory_format=torch.channels_last))
        skips = [h]
        for stage in self.down:
            for layer, attend in zip(stage.layers, stage.attentions, strict=True):
                h = attend(layer(h, next(embeddings)))
                skips.append(h)
            for down in stage.resizing:
                h = down(h)
                skips.append(h)
        for layer, attend in zip(self.middle.layers, self.middle.attentions, strict=True):
            h = attend(layer(h, next(embeddings)))
        for stage in self.up:
            for layer, attend in zip(stage.layers, stage.attentions, strict=True):
                h = attend(layer(torch.cat((h, skips.pop()), dim=1), next(embeddings)))
            for up in stage.resizing:
                h = up(h)
        out: Tensor = self.conv_out(self.norm_out.silu(h))
        return out.float()

    def _conv(self, layer: nn.Conv2d, size: tuple[int, int]) -> packed.Layer:
        return packed.conv(layer, (self.rows, *size), self.dtype)

    def _layers(self, stage: _unet.Stage, size: tuple[int, int]) -> list[tuple[nn.Module, nn.Module]]:
        attentions = list(stage.attentions or ())
        return [
            (
                _Residual(layer, self.rows, size, self.dtype),
                _Attention(attentions[place], self.rows, size, self.dtype)
                if place < len(attentions)
                else nn.Identity(),
            )
            for place, layer in enumerate(stage.resnets)
        ]


class _Stage(nn.Module):
    """The residual layers of a resolution, each with its attention, and what leads to the next."""

    def __init__(self, layers: Iterable[tuple[nn.Module, nn.Module]], resizing: Iterable[nn.Module]) -> None:
        super().__init__()
        each, attentions = zip(*layers, strict=True)
        self.layers, self.attentions = nn.ModuleList(each), nn.ModuleList(attentions)
        self.resizing = nn.ModuleList(resizing)


class _Embeddings(nn.Module):
    """The projections of time and class for all residual layers, by one linear layer, in float32."""

    def __init__(self, layers: Sequence[_unet.Residual], rows: int) -> None:
        super().__init__()
        weights, biases, self.widths = [], [], []
        for layer in layers:
            projection = layer.time_emb_proj
            one = torch.zeros_like(projection.bias)
            if layer.scale_shift:
                one[: len(one) // 2] = 1  # what comes out is scaled by 1 + scale
            weights.append(projection.weight)
            biases.append(projection.bias + one)
            self.widths.append(len(one))
        self.project = packed.linear(torch.cat(weights), torch.cat(biases), rows, torch.float32)

    def forward(self, embedded: Tensor) -> tuple[Tensor, ...]:
        """(R, embedded channels) → for each layer (R, channels), or (R, 2 · channels) of scale and shift."""
        parts: tuple[Tensor, ...] = self.project(silu_(embedded)).split(self.widths, dim=1)
        return parts


class _Residual(nn.Module):
    """`_unet.Residual`. size: (H, W)."""

    def __init__(self, layer: _unet.Residual, rows: int, size: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        shape = (rows, *size)
        self.scale_shift = layer.scale_shift
        self.norm1, self.norm2 = GroupNorm(layer.norm1, dtype), GroupNorm(layer.norm2, dtype)
        self.conv1 = packed.conv(layer.conv1, shape, dtype)
        self.conv2 = packed.conv_adding(layer.conv2, shape, dtype)
        self.shortcut = None if layer.conv_shortcut is None else packed.conv(layer.conv_shortcut, shape, dtype)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(self.norm1.silu(x))
        if self.scale_shift:
            h = self.norm2.scaled_silu(h, *embedding.chunk(2, dim=1))
        else:
            h = self.norm2.added_silu(h, embedding)
        out: Tensor = self.conv2(h, x if self.shortcut is None else self.shortcut(x))
        return out


class _Attention(nn.Module):
    """`_unet.Attention`, or its perturbation. size: (H, W)."""

    def __init__(
        self, layer: _unet.Attention | Perturbed, rows: int, size: tuple[int, int], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.perturbation = layer.attend if isinstance(layer, Perturbed) else None
        self.norm = None if layer.group_norm is None else GroupNorm(layer.group_norm, dtype)
        self.heads, pixels = layer.heads, rows * size[0] * size[1]
        parts = layer.to_q, layer.to_k, layer.to_v
        weight, bias = torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
        self.to_qkv = packed.linear(weight, bias, pixels, dtype)
        out: Any = layer.to_out[0]  # the one linear layer of its list
        self.to_out = packed.linear(out.weight, out.bias, pixels, dtype)

    def forward(self, x: Tensor) -> Tensor:
        rows, channels, height, width = x.shape
        flat = (x if self.norm is None else self.norm(x)).permute(0, 2, 3, 1).reshape(rows, height * width, channels)
        q, k, v = self.to_qkv(flat).view(rows, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = attended(q, k, v) if self.perturbation is None else self.perturbation(q, k, v, (height, width))
        seen = mixed.transpose(1, 2).flatten(2)
        out: Tensor = self.to_out(seen).view(rows, height, width, channels).permute(0, 3, 1, 2).add_(x)
        return out
