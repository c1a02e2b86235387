"""A state at the level where a step ends, taken apart: x = signal · x0 + noise · eps."""

from __future__ import annotations

from emnist_diff.parameterization import to_epsilon
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor


def noised(image: Tensor, noise: Tensor, step: DriftStep) -> Tensor:
    """The image at the level where the step ends: signal · image + noise · eps, with eps = `noise`. Shapes broadcast;
    where the step ends in the image, it is the image itself."""
    signal, rest = step.at.rates_next
    return signal * image + rest * noise


def noise_estimate(step: DriftStep) -> Tensor:
    """eps as base and forces predicted it at the state that the step started from, (B, *shape)."""
    return to_epsilon(step.sum, step.x, step.at.rates, step.prediction_type)


def is_last(at: StepInfo) -> bool:
    """Whether a step ends in the image."""
    return at.index + 1 == at.steps
