"""The Metropolis test of Langevin steps, for models that know the score and not the density."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def log_density_difference(scores: Sequence[Tensor], way: Tensor) -> Tensor:
    """ln p(x') − ln p(x) = ∫ s(x + τ (x' − x)) · (x' − x) dτ over 0 ≤ τ ≤ 1, by the trapezoidal rule; (B,) float64.

    scores: at equal distances along the line, both ends included, (B, *shape) each; at least two.
    way: x' − x, (B, *shape).
    """
    shares = [1.0] * len(scores)
    shares[0] = shares[-1] = 0.5
    slopes = [share * _dot(score, way) for share, score in zip(shares, scores, strict=True)]
    return torch.stack(slopes).sum(0) / (len(scores) - 1)


def log_proposal_ratio(x: Tensor, score: Tensor, proposed: Tensor, there: Tensor, size: Tensor) -> Tensor:
    """ln q(x | x') − ln q(x' | x), where q(b | a) = N(b; a + ε s(a), 2ε); (B,) float64.

    score, there: at x and at x' = `proposed`, (B, *shape) all.  size: ε, (B, 1, …).
    """
    back, forth = x - proposed - size * there, proposed - x - size * score
    return (_dot(forth, forth) - _dot(back, back)) / (4.0 * size.flatten().double())


def uniform(noise: Tensor) -> Tensor:
    """A uniform number in (0, 1) for each sample, from the first of its standard normal ones (B, *shape); (B,)
    float64."""
    first = noise.flatten(1)[:, 0].double()
    below: Tensor = 0.5 * torch.special.erfc(-first / math.sqrt(2.0))
    return below.clamp(1e-300, 1.0 - 1e-16)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a.double() * b.double()).flatten(1).sum(1)
