"""Decay and white noise."""

from __future__ import annotations

import attrs
from attrs import validators as v
from torch import Tensor

from emnist_diff.protocols import Step


@attrs.frozen
class DefaultDrift:
    """x' = x (1 − decay) + noise_scale · N(0, 1).

    skip_last leaves the last step alone, so that the final image is not left noisy.

    Example: ``--drift "default:noise_scale=0.03"``
    """

    noise_scale: float = attrs.field(
        default=0.0,
        validator=v.ge(0),
        metadata={"help": "standard deviation of the noise added a step, ≥ 0", "aliases": ("scale",)},
    )
    decay: float = attrs.field(
        default=0.0,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the state taken away a step, 0 … 1"},
    )
    skip_last: bool = attrs.field(default=True, metadata={"help": "leave the last step alone"})

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        if self.skip_last and step.at.index == step.at.steps - 1:
            return x
        if self.decay:
            x = (1.0 - self.decay) * x
        if self.noise_scale:
            x = x + self.noise_scale * step.noise()
        return x
