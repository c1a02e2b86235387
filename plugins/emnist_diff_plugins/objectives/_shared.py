"""What objectives share."""

from __future__ import annotations

from torch import Tensor


def like(values: Tensor, x: Tensor) -> Tensor:
    """One number a sample, (B,), so that it multiplies x (B, *shape)."""
    return values.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))
