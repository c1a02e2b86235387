"""Layers whose bits do not depend on where a row stands in a call on a CPU, whatever their widths.

Two kinds of code of torch depend on it, and both are left alone where widths are the usual ones:

- Products of matrices, as of linear layers, convolutions of one pixel and attention, with sums of so many terms that 4
  does not divide their number. The order of a sum depends on the row, and on how it is aligned.
- Loops over elements, which take 32 at a time, or 16. What is left over at the end is computed by other code, with
  another last bit for some functions, SiLU and the sigmoid among them.

All of it holds on one thread (`onethread`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N = TypeVar("N", bound=nn.Module)

_TERMS = 8
"""The terms of a sum are filled up with zeros to a multiple of so many."""

_STRIDE = 32
"""Elements that torch's loops take at a time, at most."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, its sums filled up with zeros."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        missing = -self.in_features % _TERMS
        if not missing or input.device.type != "cpu":
            return super().forward(input)
        return F.linear(F.pad(input, (0, missing)), F.pad(self.weight, (0, missing)), self.bias)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` of one pixel, its sums filled up with zeros."""

    def forward(self, input: Tensor) -> Tensor:
        """(R, in, H, W) → (R, out, H, W)."""
        if input.device.type != "cpu":
            return super().forward(input)
        more = (0, 0, 0, 0, 0, -self.in_channels % _TERMS)
        out: Tensor = self._conv_forward(F.pad(input, more), F.pad(self.weight, more), self.bias)
        return out


class SiLU(nn.SiLU):
    """`silu`, out of place."""

    def forward(self, input: Tensor) -> Tensor:
        """x · sigmoid(x) of x (R, …)."""
        return silu(input)


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x) of x (R, …)."""
    return _spared(F.silu, x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)) of x (R, …)."""
    return _spared(torch.sigmoid, x)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √c) v of queries, keys and values (R, heads, tokens, c) → (R, heads, tokens, c)."""
    width = q.shape[-1]
    if not (missing := -width % _TERMS) or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    q, k, v = (F.pad(part, (0, missing)) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, scale=width**-0.5)[..., :width]


def _spared(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` of all elements, with spare rows behind the last one where a loop would leave some over."""
    row = math.prod(x.shape[1:])
    if x.device.type != "cpu" or not row % _STRIDE:
        return function(x)
    spare = x[-1:].expand(-(-_STRIDE // row), *x.shape[1:])
    return function(torch.cat((x, spare)))[: len(x)]


def rowwise(network: N) -> N:
    """The network, with such layers in the place of torch's own wherever it has any."""
    for module in network.modules():
        if type(module) is nn.Linear and module.in_features % _TERMS:
            module.__class__ = Linear
        elif type(module) is nn.Conv2d and _of_one_pixel(module) and module.in_channels % _TERMS:
            module.__class__ = Conv2d
        elif type(module) is nn.SiLU:
            module.__class__ = SiLU
    return network


def _of_one_pixel(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding == (0, 0)
