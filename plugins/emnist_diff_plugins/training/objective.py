"""The training objective: noise an image, say what the network should answer, weigh the error."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from emnist_diff.timeline import PredictionType


def noised(x0: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) eps (Ho et al. 2020, arXiv:2006.11239, equation 4); x0, noise (B, *shape),
    alpha_bar (B,)."""
    a = _like(alpha_bar, x0)
    return a.sqrt() * x0 + (1.0 - a).sqrt() * noise


def target(x0: Tensor, noise: Tensor, alpha_bar: Tensor, kind: PredictionType) -> Tensor:
    """What the network should answer, (B, *shape): eps, x_0, or v = sqrt(a) eps - sqrt(1 - a) x_0."""
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return x0
    a = _like(alpha_bar, x0)
    return a.sqrt() * noise - (1.0 - a).sqrt() * x0


def min_snr_weight(alpha_bar: Tensor, kind: PredictionType, gamma: float) -> Tensor:
    """min(SNR, gamma) for x_0, and the same loss said in the network's own terms: divided by SNR for eps, by SNR + 1
    for v (Hang et al. 2023, arXiv:2303.09556, section 3.4); alpha_bar (B,) → (B,)."""
    snr = alpha_bar / (1.0 - alpha_bar)
    cut = snr.clamp(max=gamma)
    if kind == "sample":
        return cut
    return cut / (snr if kind == "epsilon" else snr + 1.0)


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


def _like(alpha_bar: Tensor, x: Tensor) -> Tensor:
    return alpha_bar.to(torch.float32).view(-1, *(1,) * (x.dim() - 1))
