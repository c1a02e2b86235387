"""Self-attention perturbed, for guidance by what a worse network would say.

``attention_identity`` replaces the attention map by the identity, so that each token keeps its own value: perturbed
attention (Ahn et al., 2024, arXiv:2403.17377). ``attention_blur`` blurs the queries over the grid of tokens by a
Gaussian of standard deviation SIGMA tokens, without a number an infinite one, which makes every query their mean:
smoothed energy (Hong, 2024, arXiv:2408.00760). Both act in the middle of the network; with ``:all`` wherever there is
attention.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff_plugins.containers.rowwise import attended
from emnist_diff_plugins.denoisers._skipping import sharing
from emnist_diff_plugins.variants import EVERYWHERE, Variant

_NAMES = ("attention_identity", "attention_blur", "attention_blur@SIGMA")
VARIANTS = (*_NAMES, *(name + EVERYWHERE for name in _NAMES))
"""What a network with attention can declare."""


def perturbed(network: nn.Module, variant: Variant) -> nn.Module:
    """The network with its attention perturbed; it shares all weights with `network`.

    network: a UNet whose blocks hold their attention in lists called ``attentions``, the middle one as ``mid_block``.
    variant: one of `VARIANTS`.
    """
    copied = sharing(network)
    for block in list(copied.modules()) if variant.everywhere else [copied.get_submodule("mid_block")]:
        attentions = getattr(block, "attentions", None)
        if isinstance(attentions, nn.ModuleList):
            for place, attention in enumerate(attentions):
                attentions[place] = Perturbed(attention, variant)
    return copied


class Perturbed(nn.Module):
    """A self-attention over pixels, added to what came in, with another way to attend.

    attention: has ``to_q``, ``to_k``, ``to_v``, ``to_out``, ``heads`` and ``group_norm``, which may be None.
    """

    def __init__(self, attention: Any, variant: Variant) -> None:
        super().__init__()
        self.heads, self.group_norm = attention.heads, attention.group_norm
        self.to_q, self.to_k, self.to_v = attention.to_q, attention.to_k, attention.to_v
        self.to_out = attention.to_out
        self.variant = variant

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, C, H, W)."""
        flat = x.flatten(2)
        tokens = (flat if self.group_norm is None else self.group_norm(flat)).transpose(1, 2)
        q, k, v = (
            to(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for to in (self.to_q, self.to_k, self.to_v)
        )
        seen = self.attend(q, k, v, (x.shape[2], x.shape[3])).transpose(1, 2).flatten(2)
        out: Tensor = self.to_out[0](seen).transpose(1, 2).reshape(x.shape) + x
        return out

    def attend(self, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int]) -> Tensor:
        """What the tokens see: queries, keys and values (R, heads, H · W, c) of a grid of `size` → the same shape."""
        if self.variant.name == "attention_identity":
            return v
        sigma = math.inf if self.variant.value is None else self.variant.value
        grid = q.transpose(2, 3).flatten(1, 2).unflatten(2, size)
        q = blurred(grid, sigma).flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)
        return attended(q, k, v)


def blurred(grid: Tensor, sigma: float) -> Tensor:
    """(R, C, H, W) blurred over H and W by a Gaussian of standard deviation `sigma` > 0, or their mean where it is
    infinite.

    The kernel reaches 3 sigma, but no farther than half the grid; the grid is mirrored at its border, without the
    border itself.
    """
    if math.isinf(sigma):
        return grid.mean((2, 3), keepdim=True).expand_as(grid)
    for axis in (2, 3):
        reach = min(math.ceil(6 * sigma) // 2, grid.shape[axis] // 2)
        place = torch.arange(-reach, reach + 1, dtype=torch.float64, device=grid.device)
        weights = torch.exp(-0.5 * (place / sigma).square())
        kernel = (weights / weights.sum()).to(grid.dtype).reshape(1, 1, *((-1, 1) if axis == 2 else (1, -1)))
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        channels = grid.shape[1]
        kernels = kernel.expand(channels, 1, *kernel.shape[2:])
        grid = F.conv2d(F.pad(grid, pad, mode="reflect"), kernels, groups=channels)
    return grid
