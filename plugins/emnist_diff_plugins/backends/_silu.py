"""SiLU with bits that do not depend on where a row stands."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_STRIDE = 32
"""Elements that torch's loop takes at a time; those left over at the end take another exponential."""


def silu_(x: Tensor) -> Tensor:
    """x · sigmoid(x) of x (R, …) float32, in place.

    Torch divides all elements among its threads, and another code, with another last bit, computes what is left over at
    the end of a thread's share. So rows are computed one by one, unless there is one thread and nothing is left over.
    """
    if torch.get_num_threads() == 1 and x[0].numel() % _STRIDE == 0:
        return F.silu(x, inplace=True)
    for row in x:
        F.silu(row, inplace=True)
    return x
