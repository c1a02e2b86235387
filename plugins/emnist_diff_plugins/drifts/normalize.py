"""States of one size."""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo

_FLOOR = 1e-8


@attrs.frozen
class Normalize:
    """Rescales each sample: ``std`` to a standard deviation of `target`, ``norm`` to an L2 norm of `target`.

    The samples do not see each other. `strength` takes a share of the way. `target_norm` is by = norm in one word.

    Example: ``--drift "normalize:by=std,target=1"``
    """

    by: Literal["std", "norm"] = attrs.field(
        default="std", metadata={"help": "what is set: std (standard deviation) or norm (L2)"}
    )
    target: float = attrs.field(default=1.0, converter=float, validator=v.gt(0), metadata={"help": "what it is set to"})
    strength: float = attrs.field(
        default=1.0, converter=float, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "share of the way, 0 … 1"}
    )
    target_norm: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        validator=v.optional(v.gt(0)),
        metadata={"help": "the L2 norm that is set, in place of by and target"},
    )

    def __attrs_post_init__(self) -> None:
        if self.target_norm is not None and self.target != 1.0:
            raise ConfigError("normalize: use target, or target_norm, not both")

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return self.strength == 0

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        flat = x.flatten(1)
        if self.by == "std" and self.target_norm is None:
            size, target = flat.std(1, correction=0), self.target
        else:
            size, target = torch.linalg.vector_norm(flat, dim=1), self.target_norm or self.target
        factor = target / size.clamp_min(_FLOOR)
        factor = 1.0 + self.strength * (factor - 1.0)
        return x * factor.view(-1, *(1,) * (x.dim() - 1))
