"""Convolutions and linear layers with their weights laid out once as oneDNN wants them.

`torch.nn.functional.conv2d` reorders the weights at every call; for calls of few rows that is much of the work. The
operators used here are those that torch's compiler puts into frozen graphs; where torch is built without oneDNN, or has
them no more, the plain functions compute the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = Callable[[Tensor], Tensor]
"""A layer as a function of its input, channels last."""

Adding = Callable[[Tensor, Tensor], Tensor]
"""A layer of the first argument, added to the second."""

Shape = tuple[int, int, int]
"""(R, H, W) of a layer's input."""

_ONE, _TWO, _NONE = [1, 1], [2, 2], [0, 0]
_OPS: Any = torch.ops.mkldnn


@functools.cache
def onednn(dtype: torch.dtype) -> bool:
    """Whether torch here has the packed operators, and oneDNN computes in `dtype`: each is tried once."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        if dtype == torch.bfloat16 and not _OPS._is_mkldnn_bf16_supported():
            return False
        with torch.inference_mode():
            shape, layer = (1, 4, 4), nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
            x, square = torch.zeros(1, 4, 4, 4, dtype=dtype), torch.zeros(4, 4, dtype=dtype)
            _packed_conv(layer, shape, dtype)(x)
            _packed_conv_adding(layer, shape, dtype)(x, x)
            _packed_upsampling(_doubled(layer, dtype), x[0, 0, 0], shape)(x)
            _packed_linear(square, square[0], 16)(x)
    except (AttributeError, RuntimeError, TypeError):  # another torch, another processor
        return False
    return True


def conv(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    """A convolution."""
    if onednn(dtype):
        return _packed_conv(layer, shape, dtype)
    weight, bias, stride, padding = _settings(layer, dtype)
    return lambda x: F.conv2d(x, weight, bias, stride, padding)


def conv_adding(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Adding:
    """A convolution whose result is added to something of its size."""
    if onednn(dtype):
        return _packed_conv_adding(layer, shape, dtype)
    weight, bias, stride, padding = _settings(layer, dtype)
    return lambda x, to: F.conv2d(x, weight, bias, stride, padding).add_(to)


def upsampling_conv(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    """A 3×3 convolution of an image in which each pixel stands four times, without making that image.

    Each of the four output pixels that one input pixel becomes sees 2×2 input pixels, some of them through several
    taps: with the taps summed this is a transposed convolution, 4×4 of stride 2, which does 4/9 of the arithmetic.
    """
    weight, bias = _doubled(layer, dtype), None if layer.bias is None else layer.bias.to(dtype)
    if onednn(dtype):
        return _packed_upsampling(weight, bias, shape)
    return lambda x: F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


def linear(weight: Tensor, bias: Tensor, rows: int, dtype: torch.dtype) -> Layer:
    """A linear layer of (…, in) → (…, out). rows: of the input, its leading dimensions multiplied."""
    weight, bias = weight.to(dtype), bias.to(dtype)
    return _packed_linear(weight, bias, rows) if onednn(dtype) else lambda x: F.linear(x, weight, bias)


def _packed_conv(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    weight, bias, stride, padding = _settings(layer, dtype)
    packed = _packed_weight(weight, stride, padding, shape)
    run = _OPS._convolution_pointwise.default
    return lambda x: run(x, packed, bias, padding, stride, _ONE, 1, "none", [], "")  # type: ignore[no-any-return]


def _packed_conv_adding(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Adding:
    weight, bias, stride, padding = _settings(layer, dtype)
    packed = _packed_weight(weight, stride, padding, shape)
    run = _OPS._convolution_pointwise.binary

    def adding(x: Tensor, to: Tensor) -> Tensor:
        out: Tensor = run(x, to, packed, bias, padding, stride, _ONE, 1, "add", 1.0, None, [], None)
        return out

    return adding


def _packed_upsampling(weight: Tensor, bias: Tensor | None, shape: Shape) -> Layer:
    rows = [shape[0], weight.shape[0], *shape[1:]]
    packed = _OPS._reorder_convolution_transpose_weight(weight, _ONE, _NONE, _TWO, _ONE, 1, rows)
    run = _OPS._convolution_transpose_pointwise.default
    return lambda x: run(x, packed, bias, _ONE, _NONE, _TWO, _ONE, 1, "none", [], "")  # type: ignore[no-any-return]


def _packed_linear(weight: Tensor, bias: Tensor, rows: int) -> Layer:
    packed = _OPS._reorder_linear_weight(weight, rows)
    run = _OPS._linear_pointwise.default
    return lambda x: run(x, packed, bias, "none", [], "")  # type: ignore[no-any-return]


def _packed_weight(weight: Tensor, stride: list[int], padding: list[int], shape: Shape) -> Tensor:
    rows = [shape[0], weight.shape[1], *shape[1:]]
    packed: Tensor = _OPS._reorder_convolution_weight(weight, padding, stride, _ONE, 1, rows)
    return packed


def _settings(layer: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, list[int], list[int]]:
    """Weight, bias, stride and padding."""
    weight = layer.weight.to(dtype).contiguous(memory_format=torch.channels_last)
    assert not isinstance(layer.padding, str)  # the networks that come here say it in pixels
    return weight, None if layer.bias is None else layer.bias.to(dtype), list(layer.stride), list(layer.padding)


def _doubled(layer: nn.Conv2d, dtype: torch.dtype) -> Tensor:
    """The 3×3 taps of a convolution (out, in, 3, 3), summed as the 4×4 of a transposed one, (in, out, 4, 4)."""
    taps = layer.weight.double().flip(2, 3).transpose(0, 1)
    padded = [F.pad(taps, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
    return torch.stack(padded).sum(0).to(dtype).contiguous(memory_format=torch.channels_last)
