"""What this machine can do at best: the roof under which a network is evaluated."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from emnist_diff.evaluators import Precision
from emnist_diff_plugins.benching.arithmetic import Convolution

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_MATRIX = 1024
"""Rows and columns of the matrices that are multiplied."""


@attrs.frozen
class Ceiling:
    """Rates in operations a second, or None where there is nothing of that kind to measure.

    convolution: the fastest 3×3 convolution of the network's own sizes.  convolutions: all of them after one another,
    as often as the network has them.  matmul: a square matrix product.
    """

    precision: Precision
    threads: int
    convolution: float | None
    convolutions: float | None
    matmul: float


def measure(
    convolutions: Mapping[Convolution, int],
    rows: int,
    precision: Precision,
    threads: int,
    device: torch.device,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Ceiling:
    """The ceiling in calls of `rows` rows; about `seconds` are spent on each operation.

    clock: what times are taken with; `time.process_time` is of use where one thread works on a busy machine.

    Convolutions are torch's own (oneDNN on a CPU, cuDNN on a GPU), channels last, without bias.
    """
    before, dtype = torch.get_num_threads(), DTYPES[precision]
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            rates = {
                c: rows * c.flops / _took(_convolution(c, rows, dtype, device), device, seconds, clock)
                for c in convolutions
            }
            a, b = (torch.randn(_MATRIX, _MATRIX, device=device).to(dtype) for _ in range(2))
            matmul = 2 * _MATRIX**3 / _took(lambda: a @ b, device, seconds, clock)
    finally:
        torch.set_num_threads(before)
    if not rates:
        return Ceiling(precision, threads, None, None, matmul)
    work = sum(c.flops * count for c, count in convolutions.items())
    time_of_all = sum(c.flops * count / rates[c] for c, count in convolutions.items())
    return Ceiling(precision, threads, max(rates.values()), work / time_of_all, matmul)


def _convolution(of: Convolution, rows: int, dtype: torch.dtype, device: torch.device) -> Callable[[], Tensor]:
    x = torch.randn(rows, of.inputs, of.height, of.width, device=device).to(dtype)
    weight = torch.randn(of.outputs, of.inputs, 3, 3, device=device).to(dtype)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    return lambda: F.conv2d(x, weight, padding=1)


def _took(call: Callable[[], Tensor], device: torch.device, seconds: float, clock: Callable[[], float]) -> float:
    """Seconds of the fastest call, after one to warm up: nothing that disturbs makes a ceiling."""
    wait(device, call())
    times: list[float] = []
    until = clock() + seconds
    while len(times) < 3 or clock() < until:
        started = clock()
        wait(device, call())
        times.append(clock() - started)
    return min(times)


def wait(device: torch.device, result: Tensor) -> Tensor:
    """The result, once it has been computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return result
