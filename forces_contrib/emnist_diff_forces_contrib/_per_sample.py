"""Sums over one sample at a time: no sample's figure depends on its neighbours."""

from __future__ import annotations

from torch import Tensor


def column(values: Tensor, like: Tensor) -> Tensor:
    """One number a sample, (B,), shaped to multiply states (B, *shape)."""
    return values.view(-1, *(1,) * (like.dim() - 1))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of samples, (B, 1, …), from (B, *shape) both."""
    return column((a * b).flatten(1).sum(1), a)


def norm(a: Tensor) -> Tensor:
    """L2 norms of samples, (B, 1, …), from (B, *shape)."""
    return column(a.flatten(1).norm(dim=1), a)


def deviation(a: Tensor) -> Tensor:
    """Standard deviations of samples over all their elements, (B, 1, …), from (B, *shape)."""
    return column(a.flatten(1).std(1, correction=0), a)
