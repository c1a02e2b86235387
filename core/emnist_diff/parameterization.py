"""Exact conversions between what networks predict and what samplers need.

For a state x_t = signal · x_0 + noise · eps (see `timeline.rates`):

- ``epsilon`` is eps and ``sample`` is x_0, on either path;
- ``v_prediction`` is v = signal · eps - noise · x_0, of diffusions (Salimans and Ho, 2022, arXiv:2202.00512, appendix
  D);
- ``flow`` is eps - x_0, the velocity dx/ds of flows (Liu, Gong and Liu, 2023, arXiv:2209.03003, equation 1, whose time
  runs the other way).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from emnist_diff.timeline import PredictionType

if TYPE_CHECKING:  # what was recorded is read without torch
    from torch import Tensor

Values = TypeVar("Values", "Tensor", npt.NDArray[np.float64])
"""States and what is said of them: tensors in a run, arrays of numpy in what was recorded."""

Rates = tuple[float, float]
"""(signal, noise) of the level, as `timeline.rates` gives them."""


def to_x0(prediction: Values, x: Values, rates: Rates, kind: PredictionType) -> Values:
    """The image estimate x_0 of a prediction made at `x`; all (B, *shape). Of ``epsilon`` it is undefined where there
    is no signal."""
    signal, noise = rates
    if kind == "sample":
        return prediction
    if kind == "epsilon":
        return (x - noise * prediction) / signal
    if kind == "flow":
        return x - noise * prediction
    return signal * x - noise * prediction


def to_epsilon(prediction: Values, x: Values, rates: Rates, kind: PredictionType) -> Values:
    """The noise estimate of a prediction made at `x`; all (B, *shape)."""
    signal, noise = rates
    if kind == "epsilon":
        return prediction
    if kind == "v_prediction":
        return signal * prediction + noise * x
    if kind == "flow":
        return x + signal * prediction
    return epsilon_from_x0(prediction, x, rates)


def epsilon_from_x0(x0: Values, x: Values, rates: Rates) -> Values:
    """The noise that takes the image `x0` to `x` at this level; undefined where there is none."""
    signal, noise = rates
    return (x - signal * x0) / noise


def convert(prediction: Values, x: Values, rates: Rates, source: PredictionType, target: PredictionType) -> Values:
    """What was predicted as `source` at `x`, as a network that predicts `target` would say it; all (B, *shape).

    Of ``epsilon`` it is undefined where there is no signal; ``epsilon`` from ``sample`` where there is no noise.
    """
    if source == target:
        return prediction
    if target == "sample":
        return to_x0(prediction, x, rates, source)
    epsilon = to_epsilon(prediction, x, rates, source)
    if target == "epsilon":
        return epsilon
    x0 = to_x0(prediction, x, rates, source)
    signal, noise = rates
    return epsilon - x0 if target == "flow" else signal * epsilon - noise * x0
