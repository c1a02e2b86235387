"""What a step computes around the network: a noised sample, the error of a batch, and the learning rate."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from emnist_diff_plugins.objectives._shared import like


def noised(x0: Tensor, noise: Tensor, rates: tuple[Tensor, Tensor]) -> Tensor:
    """x_t = signal · x_0 + sigma · eps; x0, noise (B, *shape), rates (signal, sigma) of each sample, (B,) each."""
    signal, sigma = (like(rate, x0) for rate in rates)
    return signal * x0 + sigma * noise


def loss(answer: Tensor, wanted: Tensor, weight: Tensor | None) -> Tensor:
    """The mean squared error of a batch, each sample times its weight (B,); a scalar in float32."""
    error = (answer.float() - wanted).square().flatten(1).mean(1)
    return error.mean() if weight is None else (weight * error).mean()


def learning_rate(step: int, total: int, peak: float, schedule: str, warmup: int) -> float:
    """The rate of step `step` of `total`, both counted from 0: a linear rise over `warmup` steps, times a half cosine
    from `peak` to 0 or a constant."""
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    fall = 0.5 * (1.0 + float(np.cos(np.pi * step / total))) if schedule == "cosine" else 1.0
    return peak * rise * fall
