"""How much a network computes for a row, and in which convolutions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from emnist_diff.conditions import RowConditions
from emnist_diff.protocols import Denoiser


@attrs.frozen(order=True)
class Convolution:
    """A 3×3 convolution of stride 1 with padding: channels in and out, height and width of the image."""

    inputs: int
    outputs: int
    height: int
    width: int

    @property
    def flops(self) -> int:
        """Operations for one row; a multiplication and an addition are two."""
        return 2 * 9 * self.inputs * self.outputs * self.height * self.width


@attrs.frozen
class Arithmetic:
    """flops: of one network row.  convolutions: its 3×3 convolutions of stride 1, and how often each occurs."""

    flops: int
    convolutions: dict[Convolution, int]


class _Convolutions(TorchDispatchMode):
    """Notes the convolutions that are computed while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.seen: Counter[Convolution] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            x, weight, stride, transposed = args[0], args[1], args[3], args[6]
            if tuple(weight.shape[2:]) == (3, 3) and set(stride) == {1} and not transposed:
                self.seen[Convolution(weight.shape[1], weight.shape[0], *x.shape[2:])] += 1
        return func(*args, **(kwargs or {}))


def of(denoiser: Denoiser, device: torch.device) -> Arithmetic:
    """What a denoiser, asked directly, computes for one row. Operations that torch does not count (norms,
    activations, sums) are left out."""
    row = (torch.zeros(1, *denoiser.shape, device=device), torch.zeros(1, device=device))
    conds = RowConditions(torch.zeros(1, dtype=torch.int64, device=device))
    watch = _Convolutions()
    with torch.no_grad():  # in inference mode, convolutions take a way that no mode is told of
        with FlopCounterMode(display=False) as counter:
            denoiser.predict(*row, conds)
        with watch:
            denoiser.predict(*row, conds)
    return Arithmetic(int(counter.get_total_flops()), dict(watch.seen))
