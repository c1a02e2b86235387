"""A change of the score, as a change of what the network predicts."""

from __future__ import annotations

from emnist_diff.timeline import PredictionType, StepInfo
from torch import Tensor


def prediction_shift(change: Tensor, at: StepInfo, kind: PredictionType) -> Tensor:
    """What adding `change` to ∇ log p(x_t), (B, *shape), adds to a prediction of this type.

    With x_t = m x_0 + n ε the score is −ε / n, so that Δε = −n Δscore and Δx_0 = −(n / m) Δε; v = m ε − n x_0 and
    u = ε − x_0 follow. Where there is no signal (m = 0) only ε is defined; the others are left alone, as x_0 cannot be
    learnt from pure noise.
    """
    signal, noise = at.rates
    epsilon = -noise * change
    if kind == "epsilon":
        return epsilon
    if signal == 0:
        return change.new_zeros(change.shape)
    image = -(noise / signal) * epsilon
    if kind == "sample":
        return image
    return epsilon - image if kind == "flow" else signal * epsilon - noise * image
