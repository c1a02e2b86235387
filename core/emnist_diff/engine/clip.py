"""Bounds on what forces add, per sample: no sample's bound depends on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.conditions import Cond, Predictions
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo

_FLOOR = 1e-8


@attrs.frozen
class Clip:
    """abs: largest absolute value of an element.  norm: largest L2 norm of a sample, taken after `abs`."""

    abs: float | None = attrs.field(default=None, validator=v.optional(v.gt(0)))
    norm: float | None = attrs.field(default=None, validator=v.optional(v.gt(0)))

    def __bool__(self) -> bool:
        return self.abs is not None or self.norm is not None

    def __call__(self, x: Tensor) -> Tensor:
        """The bounded tensor, (B, *shape)."""
        if self.abs is not None:
            x = x.clamp(-self.abs, self.abs)
        if self.norm is not None:
            length = torch.linalg.vector_norm(x.flatten(1), dim=1).clamp_min(_FLOOR)
            x = x * (self.norm / length).clamp(max=1.0).view(-1, *(1,) * (x.dim() - 1))
        return x


@attrs.frozen
class ClipSum:
    """A force that bounds the sum of all forces before it: it adds clip(sum) − sum, so that the ledger stays a sum."""

    clip: Clip

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        total = step.sum - step.base
        return self.clip(total) - total
