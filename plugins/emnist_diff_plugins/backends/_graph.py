"""Networks rewritten for compilers of graphs: the same function of the same weights, in operations that such compilers
run fast.

A compiler keeps images in the layout that its convolutions want and fuses what is elementwise. It is stopped by group
norms, which it takes apart into reshapes to another layout and back, and by sums that it cannot attach to a
convolution. Sums are taken in another order than in the network itself, so the last bits differ.

For OpenVINO it is more than speed: version 2026.4 ends the process (SIGSEGV) when it compiles `unet2d` networks with
scale and shift in fp32 as they are; without `nn.GroupNorm` it does not.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff_plugins.denoisers import _unet


def rewritten(network: nn.Module) -> nn.Module:
    """A copy of `network` in which this module's parts replace those of torch; the original stays as it is.

    Group norms are replaced in every network; residual layers, attention and upsampling in those of `unet2d`.
    """
    return _exchange(copy.deepcopy(network))


def _exchange(part: nn.Module) -> nn.Module:
    if isinstance(part, _unet.Residual):
        return GraphResidual(part)
    if isinstance(part, _unet.Attention):
        return GraphAttention(part)
    if isinstance(part, _unet.Upsample):
        return GraphUpsample(part)
    if isinstance(part, nn.GroupNorm):
        return GraphGroupNorm(part)
    for name, child in part.named_children():
        setattr(part, name, _exchange(child))
    return part


class GraphGroupNorm(nn.Module):
    """A group norm without a reshape: means over the pixels of each channel, then over the channels of each group by a
    small matrix product; one pass over the image at the end.

    Two passes for the variance, as the definition has it: E[x²] − E[x]² loses digits where the mean is large.
    """

    average: Tensor
    """(C, C): from a value of each channel to the mean over its group."""

    def __init__(self, layer: nn.GroupNorm) -> None:
        super().__init__()
        width = layer.num_channels // layer.num_groups
        self.eps = layer.eps
        one = torch.ones(layer.num_channels)
        self.register_buffer("weight", one if layer.weight is None else layer.weight.detach())
        self.register_buffer("bias", one * 0 if layer.bias is None else layer.bias.detach())
        share = torch.full((width, width), 1 / width, dtype=self.weight.dtype, device=self.weight.device)
        self.register_buffer("average", torch.block_diag(*[share] * layer.num_groups))

    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """norm(x): x (R, C) or (R, C, …), as `nn.GroupNorm`."""
        if x.dim() == 4:
            return self.affine(x, self.weight, self.bias)
        flat = x.reshape(x.shape[0], x.shape[1], -1, 1)
        return self.affine(flat, self.weight, self.bias).reshape(x.shape)

    def affine(self, x: Tensor, weight: Tensor, bias: Tensor, offset: Tensor | None = None) -> Tensor:
        """(x + offset − mean) / deviation · weight + bias, where mean and deviation are those of x + offset.

        x: (R, C, H, W).  weight, bias: (C,) or (R, C).  offset: (R, C), the same for all pixels, or None for 0.
        """
        mean = _over_pixels(x)
        mean = mean @ self.average if offset is None else (mean + offset) @ self.average - offset
        centred = x - mean[:, :, None, None]
        variance = _over_pixels(centred * centred) @ self.average
        factor = torch.rsqrt(variance + self.eps) * weight
        # Written from x, not from `centred`, so that the pass above need not be kept; torch's own norm does the same.
        return x * factor[:, :, None, None] + (bias - mean * factor)[:, :, None, None]


def _over_pixels(x: Tensor) -> Tensor:
    """(R, C, H, W) → (R, C), the mean: as a pooling, which compilers do in any layout."""
    return F.avg_pool2d(x, (x.shape[2], x.shape[3])).flatten(1)


class GraphResidual(nn.Module):
    """`_unet.Residual`, where the affine map of the second norm takes in the embedding of time and class."""

    def __init__(self, layer: _unet.Residual) -> None:
        super().__init__()
        self.scale_shift = layer.scale_shift
        self.norm1, self.norm2 = GraphGroupNorm(layer.norm1), GraphGroupNorm(layer.norm2)
        self.conv1, self.conv2, self.conv_shortcut = layer.conv1, layer.conv2, layer.conv_shortcut
        self.time_emb_proj = layer.time_emb_proj

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """As `_unet.Residual.forward`."""
        h = self.conv1(F.silu(self.norm1(x)))
        embedding, norm = self.time_emb_proj(F.silu(embedded)), self.norm2
        if self.scale_shift:
            scale, shift = embedding.chunk(2, dim=1)
            h = norm.affine(h, norm.weight * (1 + scale), norm.bias * (1 + scale) + shift)
        else:
            h = norm.affine(h, norm.weight, norm.bias, embedding)
        h = self.conv2(F.silu(h))
        out: Tensor = (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h
        return out


class GraphAttention(nn.Module):
    """`_unet.Attention` with its norm in the layout of images, and one linear layer for query, key and value."""

    def __init__(self, layer: _unet.Attention) -> None:
        super().__init__()
        self.heads, self.to_out = layer.heads, layer.to_out[0]
        self.norm = nn.Identity() if layer.group_norm is None else GraphGroupNorm(layer.group_norm)
        parts = (layer.to_q, layer.to_k, layer.to_v)
        self.register_buffer("weight", torch.cat([part.weight.detach() for part in parts]))
        self.register_buffer("bias", torch.cat([part.bias.detach() for part in parts]))

    weight: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """As `_unet.Attention.forward`."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        projected = F.linear(tokens, self.weight, self.bias).chunk(3, dim=2)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in projected)
        h = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = h.transpose(1, 2).reshape(x.shape) + x
        return out


class GraphUpsample(nn.Module):
    """`_unet.Upsample` as one transposed convolution of stride 2: 4 products a pixel and channel in place of 9.

    A 3×3 convolution over pixels that stand there twice meets each of them with one weight or with the sum of two
    neighbouring ones; which, depends on where in the pair the output stands.
    """

    def __init__(self, layer: _unet.Upsample) -> None:
        super().__init__()
        conv = layer.conv
        kernel = _doubled(_doubled(conv.weight.detach(), 2), 3).transpose(0, 1).contiguous()
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach())

    kernel: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, C', 2H, 2W)."""
        return F.conv_transpose2d(x, self.kernel, self.bias, stride=2, padding=1)


def _doubled(weight: Tensor, dim: int) -> Tensor:
    """The 3 weights along `dim` as the 4 of a transposed convolution of stride 2 and padding 1."""
    before, centre, after = weight.unbind(dim)
    return torch.stack((after, centre + after, before + centre, before), dim)
