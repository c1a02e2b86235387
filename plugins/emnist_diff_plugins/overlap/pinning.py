"""Memory from which a GPU copies while it computes."""

from __future__ import annotations

import torch
from torch import Tensor

from emnist_diff.shortage import out_of_memory


def pinned(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor in such memory of the CPU, or, where there is no more of it, in any other."""
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return torch.empty(shape, dtype=dtype)
