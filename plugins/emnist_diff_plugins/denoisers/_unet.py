"""The network of `unet2d` as a plain module of tensors: diffusers' `UNet2DModel`, as far as `UNet2D` has settings.

It has the tensors of `UNet2DModel` under the same names and in the same order, initialises them by the same draws, and
computes the same bits. It stands here because importing diffusers takes longer than making a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_EPS = 1e-5
"""Of every group norm."""


class UNet(nn.Module):
    """A class-conditional UNet (Ho, Jain and Abbeel, 2020, arXiv:2006.11239, appendix B).

    channels: of the images.  widths: channels of each level, full resolution first.  layers: residual layers a level.
    attention: which levels attend to themselves; the middle always does.  scale_shift: time and class scale and shift
    what comes out of the second norm of a residual layer (Dhariwal and Nichol, 2021, arXiv:2105.05233, section 4.3),
    and are not just added before it.  groups: of the norms.  head: channels of an attention head.
    classes: rows of the class embedding.  dropout: in residual layers, 0 … 1.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        layers: int,
        attention: Sequence[bool],
        scale_shift: bool,
        groups: int,
        head: int,
        classes: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        embedded = 4 * widths[0]
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], embedded)
        self.class_embedding = nn.Embedding(classes, embedded)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()

        def residual(inside: int, out: int) -> Residual:
            return Residual(inside, out, embedded, groups, scale_shift, dropout)

        def attending(width: int, normed: bool = True) -> Attention:
            return Attention(width, head, groups if normed else None)

        skips = [widths[0]]
        for level, (width, attends) in enumerate(zip(widths, attention, strict=True)):
            stage = Stage()
            for _ in range(layers):
                before = skips[-1]
                stage.add(residual(before, width), attending(width) if attends else None)
                skips.append(width)
            last = level == len(widths) - 1
            self.down_blocks.append(stage.finished("downsamplers", None if last else Downsample(width)))
            skips += [] if last else [width]
        middle = Stage()
        middle.add(residual(widths[-1], widths[-1]), attending(widths[-1], normed=not scale_shift))
        middle.add(residual(widths[-1], widths[-1]), None)
        self.mid_block = middle.finished("", None)
        before = widths[-1]
        for level in reversed(range(len(widths))):
            stage, width = Stage(), widths[level]
            for _ in range(layers + 1):
                stage.add(residual(before + skips.pop(), width), attending(width) if attention[level] else None)
                before = width
            self.up_blocks.append(stage.finished("upsamplers", Upsample(width) if level else None))
        self.conv_norm_out = nn.GroupNorm(groups, widths[0], eps=_EPS)
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """The prediction of each row: x (R, C, H, W), t (R,) float32 timesteps, index (R,) int64 → (R, C, H, W)."""
        embedded = self.time_embedding(t) + self.class_embedding(index)
        h = self.conv_in(x)
        skips = [h]
        for block in self.down_blocks:
            for place, layer in enumerate(block.resnets):
                h = block.attended(layer(h, embedded), place)
                skips.append(h)
            for down in block.downsamplers or ():
                h = down(h)
                skips.append(h)
        for place, layer in enumerate(self.mid_block.resnets):
            h = self.mid_block.attended(layer(h, embedded), place)
        for block in self.up_blocks:
            for place, layer in enumerate(block.resnets):
                h = block.attended(layer(torch.cat((h, skips.pop()), dim=1), embedded), place)
            for up in block.upsamplers or ():
                h = up(h)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out


class TimeEmbedding(nn.Module):
    """Sines and cosines of the timestep at `width` / 2 frequencies from 1 down to 1/10,000, through two layers."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.linear_1 = nn.Linear(width, out)
        self.linear_2 = nn.Linear(out, out)

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = t.float()[:, None] * frequencies
        waves = F.pad(torch.cat((angles.cos(), angles.sin()), dim=1), (0, self.width % 2))
        out: Tensor = self.linear_2(F.silu(self.linear_1(waves.to(self.linear_1.weight.dtype))))
        return out


class Stage(nn.Module):
    """The layers of one resolution, each perhaps followed by attention, and the way to the next resolution."""

    resnets: nn.ModuleList
    attentions: nn.ModuleList | None
    downsamplers: nn.ModuleList | None
    upsamplers: nn.ModuleList | None

    def __init__(self) -> None:
        super().__init__()
        self._made: list[tuple[Residual, Attention | None]] = []

    def add(self, layer: Residual, attention: Attention | None) -> None:
        """Put a layer at the end."""
        self._made.append((layer, attention))

    def finished(self, way: str, sampler: nn.Module | None) -> Stage:
        """This stage with its parts registered in the order of `UNet2DModel`, and the sampler that leads on."""
        attentions = [attention for _, attention in self._made if attention is not None]
        self.attentions = nn.ModuleList(attentions) if attentions else None
        self.resnets = nn.ModuleList(layer for layer, _ in self._made)
        self.downsamplers = self.upsamplers = None
        if sampler is not None:
            setattr(self, way, nn.ModuleList([sampler]))
        self._made.clear()
        return self

    def attended(self, h: Tensor, place: int) -> Tensor:
        """What the attention after layer `place` makes of h (R, C, H, W), if there is one."""
        if self.attentions is None or place >= len(self.attentions):
            return h
        out: Tensor = self.attentions[place](h)
        return out


class Residual(nn.Module):
    """Two convolutions, told of time and class in between, added to what came in."""

    def __init__(self, inside: int, out: int, embedded: int, groups: int, scale_shift: bool, dropout: float) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.norm1 = nn.GroupNorm(groups, inside, eps=_EPS)
        self.conv1 = nn.Conv2d(inside, out, 3, padding=1)
        self.time_emb_proj = nn.Linear(embedded, 2 * out if scale_shift else out)
        self.norm2 = nn.GroupNorm(groups, out, eps=_EPS)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inside, out, 1) if inside != out else None

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        told = self.time_emb_proj(F.silu(embedded))[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + told)
        h = self.conv2(self.dropout(F.silu(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Attention(nn.Module):
    """Self-attention over the pixels, added to what came in. groups: of its norm, None for none."""

    def __init__(self, width: int, head: int, groups: int | None) -> None:
        super().__init__()
        self.heads, inner = width // head, (width // head) * head
        self.group_norm = None if groups is None else nn.GroupNorm(groups, width, eps=_EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, inner) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        h = (flat if self.group_norm is None else self.group_norm(flat)).transpose(1, 2)
        q, k, v = (to(h).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v))
        h = self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return h.transpose(1, 2).reshape(x.shape) + x


class Downsample(nn.Module):
    """To half the resolution, by a convolution of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """To twice the resolution: each pixel four times, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out
