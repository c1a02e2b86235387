"""The network of `unet2d` as a plain module of tensors: diffusers' `UNet2DModel`, as far as `UNet2D` has settings.

It has the tensors of `UNet2DModel` under the same names and in the same order, initialises them by the same draws, and
computes the same bits. It stands here because importing diffusers takes longer than making a sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff_plugins.containers.rowwise import attended, silu

M = TypeVar("M", bound=nn.Module)
Layer: TypeAlias = "tuple[Residual, Attention | None, CrossAttention | None]"
"""A residual layer, and after it attention to itself and to the class."""

if TYPE_CHECKING:

    class Modules(nn.ModuleList, Generic[M]):
        """`nn.ModuleList` with the class of its modules, which torch's own does not declare."""

        def __iter__(self) -> Iterator[M]: ...

else:
    Modules = nn.ModuleList


_EPS = 1e-5
"""Of every group norm."""


@attrs.frozen
class Sizes:
    """What a `UNet` is built from.

    channels: of the images.  widths: channels of each level, full resolution first.  layers: residual layers a level.
    attention: which levels attend to themselves; the middle always does.  scale_shift: time and class scale and shift
    what comes out of the second norm of a residual layer (Dhariwal and Nichol, 2021, arXiv:2105.05233, section 4.3),
    and are not just added before it.  groups: of the norms.  head: channels of an attention head.
    classes: rows of the class embedding.  dropout: in residual layers, 0 … 1.
    conditioning: how the class enters: ``embedding``, added to the time; ``concat``, a plane beside the channels, of
    `side` × `side` pixels; ``cross``, `tokens` of `context` numbers each, to which the places attend after they have
    attended to each other (Rombach et al., 2022, arXiv:2112.10752, section 3.3).
    """

    channels: int
    widths: Sequence[int]
    layers: int
    attention: Sequence[bool]
    scale_shift: bool
    groups: int
    head: int
    classes: int
    dropout: float = 0.0
    conditioning: str = "embedding"
    side: int = 1
    tokens: int = 1
    context: int = 128

    @property
    def embedded(self) -> int:
        """Channels in which time and class reach the residual layers."""
        return 4 * self.widths[0]

    def down(self, level: int, skips: list[int]) -> Stage:
        """The stage of a level on the way down; appends the channels of what it hands to the way up to `skips`."""
        width, layers = self.widths[level], []
        for _ in range(self.layers):
            layers.append(self._layer(skips[-1], width, self.attention[level]))
            skips.append(width)
        if level == len(self.widths) - 1:
            return Stage(layers)
        skips.append(width)
        return Stage(layers, downsampler=Downsample(width))

    def middle(self) -> Stage:
        """The stage between the two."""
        width = self.widths[-1]
        attended = (
            self._residual(width, width), self._attention(width, normed=not self.scale_shift), self._cross(width)
        )  # fmt: skip
        return Stage([attended, (self._residual(width, width), None, None)])

    def up(self, level: int, skips: list[int]) -> Stage:
        """The stage of a level on the way up; takes the channels of what it is handed from the end of `skips`."""
        width, layers = self.widths[level], []
        before = self.widths[min(level + 1, len(self.widths) - 1)]
        for _ in range(self.layers + 1):
            layers.append(self._layer(before + skips.pop(), width, self.attention[level]))
            before = width
        return Stage(layers, upsampler=Upsample(width) if level else None)

    def _layer(self, inside: int, out: int, attends: bool) -> Layer:
        if not attends:
            return self._residual(inside, out), None, None
        return self._residual(inside, out), self._attention(out), self._cross(out)

    def _cross(self, width: int) -> CrossAttention | None:
        return CrossAttention(width, self.head, self.groups, self.context) if self.conditioning == "cross" else None

    def _residual(self, inside: int, out: int) -> Residual:
        return Residual(inside, out, self.embedded, self.groups, self.scale_shift, self.dropout)

    def _attention(self, width: int, normed: bool = True) -> Attention:
        return Attention(width, self.head, self.groups if normed else None)


class UNet(nn.Module):
    """A class-conditional UNet (Ho, Jain and Abbeel, 2020, arXiv:2006.11239, appendix B)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, levels = sizes.widths[0], range(len(sizes.widths))
        self.conditioning, self.tokens, self.side = sizes.conditioning, sizes.tokens, sizes.side
        self.step = 2 ** (len(sizes.widths) - 1)
        self.conv_in = nn.Conv2d(sizes.channels + (sizes.conditioning == "concat"), width, 3, padding=1)
        self.time_embedding = TimeEmbedding(width, sizes.embedded)
        widths = {"embedding": sizes.embedded, "concat": sizes.side**2, "cross": sizes.tokens * sizes.context}
        self.class_embedding = nn.Embedding(sizes.classes, widths[sizes.conditioning])
        self.down_blocks: Modules[Stage] = Modules()
        self.up_blocks: Modules[Stage] = Modules()
        skips = [width]
        for level in levels:
            self.down_blocks.append(sizes.down(level, skips))
        self.mid_block = sizes.middle()
        for level in reversed(levels):
            self.up_blocks.append(sizes.up(level, skips))
        self.conv_norm_out = nn.GroupNorm(sizes.groups, width, eps=_EPS)
        self.conv_out = nn.Conv2d(width, sizes.channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """The prediction of each row: x (R, C, H, W), t (R,) float32 timesteps, index (R,) int64 → (R, C, H, W)."""
        embedded, context = self.time_embedding(t), self.class_embedding(index)
        tokens: Tensor | None = None
        if self.conditioning == "embedding":
            embedded = embedded + context
        elif self.conditioning == "concat":
            x = torch.cat((x, context.view(-1, 1, self.side, self.side).to(x.dtype)), dim=1)
        else:
            tokens = context.unflatten(1, (self.tokens, -1))
        height, width = x.shape[-2:]
        top, left = -height % self.step // 2, -width % self.step // 2
        h = self.conv_in(mirrored_out(x, self.step))
        skips = [h]
        for block in self.down_blocks:
            for place, layer in enumerate(block.resnets):
                h = block.attended(layer(h, embedded), place, tokens)
                skips.append(h)
            for down in block.downsamplers or ():
                h = down(h)
                skips.append(h)
        for place, layer in enumerate(self.mid_block.resnets):
            h = self.mid_block.attended(layer(h, embedded), place, tokens)
        for block in self.up_blocks:
            for place, layer in enumerate(block.resnets):
                h = block.attended(layer(torch.cat((h, skips.pop()), dim=1), embedded), place, tokens)
            for up in block.upsamplers or ():
                h = up(h)
        out: Tensor = self.conv_out(silu(self.conv_norm_out(h)))
        return out[..., top : top + height, left : left + width] if out.shape[-2:] != (height, width) else out


def mirrored_out(x: Tensor, step: int) -> Tensor:
    """x (R, C, H, W), mirrored out at its borders to the next multiples of `step`; unchanged where it is one."""
    more = [-side % step for side in x.shape[:-3:-1]]
    return F.pad(x, [part for n in more for part in (n // 2, n - n // 2)], mode="reflect") if any(more) else x


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
        out: Tensor = self.linear_2(silu(self.linear_1(waves.to(self.linear_1.weight.dtype))))
        return out


class Stage(nn.Module):
    """The layers of one resolution, each perhaps followed by attention, and what leads to the next resolution."""

    attentions: Modules[Attention] | None
    cross_attentions: Modules[CrossAttention] | None
    resnets: Modules[Residual]
    downsamplers: Modules[Downsample] | None
    upsamplers: Modules[Upsample] | None

    def __init__(
        self, layers: Sequence[Layer], *, downsampler: Downsample | None = None, upsampler: Upsample | None = None
    ) -> None:
        super().__init__()
        # Registered in the order of `UNet2DModel`.
        attentions = [attention for _, attention, _ in layers if attention is not None]
        crossing = [cross for _, _, cross in layers if cross is not None]
        self.attentions = Modules(attentions) if attentions else None
        self.cross_attentions = Modules(crossing) if crossing else None
        self.resnets = Modules(residual for residual, _, _ in layers)
        self.downsamplers = None if downsampler is None else Modules([downsampler])
        self.upsamplers = None if upsampler is None else Modules([upsampler])

    def attended(self, h: Tensor, place: int, tokens: Tensor | None = None) -> Tensor:
        """What the attention after layer `place`, to itself and to the tokens (R, S, context) of the class, makes of h
        (R, C, H, W), if there is one."""
        if self.attentions is None or place >= len(self.attentions):
            return h
        out: Tensor = self.attentions[place](h)
        if self.cross_attentions is not None:
            out = self.cross_attentions[place](out, tokens)
        return out


class Residual(nn.Module):
    """Two convolutions, which time and class enter in between, added to what came in."""

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
        h = self.conv1(silu(self.norm1(x)))
        context = self.time_emb_proj(silu(embedded))[:, :, None, None]
        if self.scale_shift:
            scale, shift = context.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + context)
        h = self.conv2(self.dropout(silu(h)))
        out: Tensor = (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h
        return out


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
        h = self.to_out[0](attended(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = h.transpose(1, 2).reshape(x.shape) + x
        return out


class CrossAttention(nn.Module):
    """Attention of the pixels to tokens, added to what came in; diffusers' `Attention` with ``residual_connection``.
    With a single token it adds the same to all pixels."""

    def __init__(self, width: int, head: int, groups: int, context: int) -> None:
        super().__init__()
        self.heads, inner = width // head, (width // head) * head
        self.group_norm = nn.GroupNorm(groups, width, eps=_EPS)
        self.to_q = nn.Linear(width, inner)
        self.to_k, self.to_v = nn.Linear(context, inner), nn.Linear(context, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x (R, C, H, W), tokens (R, S, context) → (R, C, H, W)."""
        h = self.group_norm(x.flatten(2)).transpose(1, 2)
        queries, keys, values = self.to_q(h), self.to_k(tokens), self.to_v(tokens)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (queries, keys, values))
        h = self.to_out[0](attended(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = h.transpose(1, 2).reshape(x.shape) + x
        return out


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
