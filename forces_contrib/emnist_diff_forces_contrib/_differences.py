"""Differences of predictions, from one prediction type to another.

At one state and level every prediction type is an affine function of every other (`emnist_diff.parameterization`), so
that differences transform linearly: as predictions made at the state 0.
"""

from __future__ import annotations

import torch
from emnist_diff.parameterization import Rates, convert
from emnist_diff.timeline import PredictionType
from torch import Tensor


def convert_difference(delta: Tensor, rates: Rates, source: PredictionType, target: PredictionType) -> Tensor:
    """The difference of two predictions of type `source`, (B, *shape), as the difference of the same as `target`.

    rates: (signal, noise) of the level. Raises `ZeroDivisionError` where `parameterization.convert` is undefined.
    """
    return convert(delta, torch.zeros_like(delta), rates, source, target)
