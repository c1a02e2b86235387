"""The base of the prediction, to which forces are added, and bounds on what they add.

Bounds are per sample: no sample's bound depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.conditions import NULL, OWN, Cond, Predictions
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo

_FLOOR = 1e-8

BaseKind = Literal["cfg", "cond", "uncond"]


@attrs.frozen
class Base:
    """``cfg``: e_null + s (e_own - e_null), classifier-free guidance (Ho and Salimans, 2022, arXiv:2207.12598,
    with s = 1 + w of its equation 6); ``cond``: e_own; ``uncond``: e_null.

    guidance_scale: s, used by ``cfg`` alone. s = 0 evaluates only null, s = 1 only own.
    """

    kind: BaseKind = "cfg"
    guidance_scale: float = 3.0

    def conditions(self) -> tuple[Cond, ...]:
        """The conditions that the base reads."""
        if self.kind == "uncond" or (self.kind == "cfg" and self.guidance_scale == 0):
            return (NULL,)
        if self.kind == "cond" or self.guidance_scale == 1:
            return (OWN,)
        return (NULL, OWN)

    def __call__(self, predictions: Predictions) -> Tensor:
        """The base prediction, (B, *shape)."""
        wanted = self.conditions()
        if len(wanted) == 1:
            return predictions[wanted[0]]
        null = predictions[NULL]
        return null + self.guidance_scale * (predictions[OWN] - null)


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
