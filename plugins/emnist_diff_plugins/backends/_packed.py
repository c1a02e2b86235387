"""Convolutions and linear layers with their weights laid out once as oneDNN wants them.

`torch.nn.functional.conv2d` reorders the weights at every call; for calls of few rows that is much of the work. The
operators are those that torch's compiler puts into frozen graphs; where torch is built without oneDNN, or no longer has
them, the plain functions compute the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff_plugins.backends._silence import silence

Shape = tuple[int, int, int]
"""(R, H, W) of a layer's input."""

_ONE, _TWO, _NONE = [1, 1], [2, 2], [0, 0]
_OPS: Any = torch.ops.mkldnn


class Layer(nn.Module):
    """A function of images, channels last, and of a weight that was laid out for it.

    run: a function of the layer's inputs, the weight, the bias and the settings.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, run: Callable[..., Tensor], weight: Tensor, bias: Tensor | None, *settings: list[int]) -> None:
        super().__init__()
        self.run, self.settings = run, settings
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, *given: Tensor) -> Tensor:
        """The output for x; `conv_adding` takes a second input, to which the output is added."""
        return self.run(*given, self.weight, self.bias, *self.settings)


@functools.cache
def onednn(dtype: torch.dtype) -> bool:
    """Whether this torch has the packed operators, and oneDNN computes in `dtype`: each is tried once."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        if dtype == torch.bfloat16 and not _OPS._is_mkldnn_bf16_supported():
            return False
        with torch.inference_mode():
            shape, layer = (1, 4, 4), nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
            x, square = torch.zeros(1, 4, 4, 4, dtype=dtype), torch.zeros(4, 4, dtype=dtype)
            _packed_conv(_conv, layer, shape, dtype)(x)
            _packed_conv(_conv_adding, layer, shape, dtype)(x, x)
            _packed_upsampling(_doubled(layer, dtype), x[0, 0, 0], shape)(x)
            _packed_linear(square, square[0], 16)(x)
    except (AttributeError, RuntimeError, TypeError):  # another torch, another processor
        return False
    return True


def conv(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    """A convolution."""
    if onednn(dtype):
        return _packed_conv(_conv, layer, shape, dtype)
    return Layer(_plain_conv, *_settings(layer, dtype))


def conv_adding(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    """A convolution whose result is added to its second argument, something of the result's size."""
    if onednn(dtype):
        return _packed_conv(_conv_adding, layer, shape, dtype)
    return Layer(_plain_conv_adding, *_settings(layer, dtype))


def upsampling_conv(layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    """A 3×3 convolution of an image in which each pixel stands four times, without making that image.

    Each of the four output pixels that one input pixel becomes sees 2×2 input pixels, some of them through several
    taps: with the taps summed this is a transposed convolution, 4×4 of stride 2, which does 4/9 of the arithmetic.
    """
    weight, bias = _doubled(layer, dtype), None if layer.bias is None else layer.bias.to(dtype)
    return _packed_upsampling(weight, bias, shape) if onednn(dtype) else Layer(_plain_upsampling, weight, bias)


def linear(weight: Tensor, bias: Tensor, rows: int, dtype: torch.dtype) -> Layer:
    """A linear layer of (…, in) → (…, out). rows: of the input, its leading dimensions multiplied."""
    weight, bias = weight.to(dtype), bias.to(dtype)
    return _packed_linear(weight, bias, rows) if onednn(dtype) else Layer(F.linear, weight, bias)


def _packed_conv(run: Callable[..., Tensor], layer: nn.Conv2d, shape: Shape, dtype: torch.dtype) -> Layer:
    weight, bias, padding, stride = _settings(layer, dtype)
    rows = [shape[0], weight.shape[1], *shape[1:]]
    packed = _OPS._reorder_convolution_weight(weight, padding, stride, _ONE, 1, rows)
    return Layer(_scripted(run), packed, bias, padding, stride)


def _packed_upsampling(weight: Tensor, bias: Tensor | None, shape: Shape) -> Layer:
    rows = [shape[0], weight.shape[0], *shape[1:]]
    packed = _OPS._reorder_convolution_transpose_weight(weight, _ONE, _NONE, _TWO, _ONE, 1, rows)
    return Layer(_scripted(_upsampling), packed, bias)


def _packed_linear(weight: Tensor, bias: Tensor, rows: int) -> Layer:
    return Layer(_scripted(_linear), _OPS._reorder_linear_weight(weight, rows), bias)


def _settings(layer: nn.Conv2d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, list[int], list[int]]:
    """Weight, bias, padding and stride."""
    weight = layer.weight.to(dtype).contiguous(memory_format=torch.channels_last)
    assert not isinstance(layer.padding, str)  # networks of `unet2d` give it in pixels
    return weight, None if layer.bias is None else layer.bias.to(dtype), list(layer.padding), list(layer.stride)


@functools.cache
def _scripted(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` as a script, because torch's tracer cannot record an empty list of scalars; `function` itself, which
    computes the same, where torch has no TorchScript or cannot find our source."""
    with silence():
        try:
            scripted: Callable[..., Tensor] = torch.jit.script(function)
            return scripted
        except Exception:  # the compiler of scripts raises errors of many types
            return function


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int]) -> Tensor:
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, stride, [1, 1], 1, "none", [], "")
    return out


def _conv_adding(
    x: Tensor, to: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int]
) -> Tensor:
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, to, weight, bias, padding, stride, [1, 1], 1, "add", 1.0, None, [], None
    )
    return out


def _upsampling(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
        x, weight, bias, [1, 1], [0, 0], [2, 2], [1, 1], 1, "none", [], ""
    )
    return out


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


def _plain_conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int]) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding)


def _plain_conv_adding(
    x: Tensor, to: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int]
) -> Tensor:
    return F.conv2d(x, weight, bias, stride, padding).add_(to)


def _plain_upsampling(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


def _doubled(layer: nn.Conv2d, dtype: torch.dtype) -> Tensor:
    """The 3×3 taps of a convolution (out, in, 3, 3), summed as the 4×4 of a transposed one, (in, out, 4, 4)."""
    taps = layer.weight.double().flip(2, 3).transpose(0, 1)
    padded = [F.pad(taps, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
    return torch.stack(padded).sum(0).to(dtype).contiguous(memory_format=torch.channels_last)
