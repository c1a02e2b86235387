"""Exact conversions between what networks predict and what samplers need.

For x_t = sqrt(a) x_0 + sqrt(1-a) eps with a = alpha_bar: ``epsilon`` is eps, ``sample`` is x_0 and
``v_prediction`` is v = sqrt(a) eps - sqrt(1-a) x_0 (Salimans and Ho, 2022, arXiv:2202.00512, appendix D).
"""

from __future__ import annotations

import math

from torch import Tensor

from emnist_diff.protocols import PredictionType


def to_x0(prediction: Tensor, x: Tensor, alpha_bar: float, kind: PredictionType) -> Tensor:
    """The image estimate x_0 of a prediction made at `x`; all (B, *shape)."""
    if kind == "sample":
        return prediction
    signal, noise = math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar)
    if kind == "epsilon":
        return (x - noise * prediction) / signal
    return signal * x - noise * prediction


def to_epsilon(prediction: Tensor, x: Tensor, alpha_bar: float, kind: PredictionType) -> Tensor:
    """The noise estimate of a prediction made at `x`; all (B, *shape)."""
    if kind == "epsilon":
        return prediction
    if kind == "v_prediction":
        return math.sqrt(alpha_bar) * prediction + math.sqrt(1.0 - alpha_bar) * x
    return epsilon_from_x0(prediction, x, alpha_bar)


def epsilon_from_x0(x0: Tensor, x: Tensor, alpha_bar: float) -> Tensor:
    """The noise that takes the image `x0` to `x` at this level; undefined at alpha_bar = 1."""
    return (x - math.sqrt(alpha_bar) * x0) / math.sqrt(1.0 - alpha_bar)
