"""Bounds on the state."""

from __future__ import annotations

import attrs
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.steps import DriftStep


@attrs.frozen
class Clamp:
    """x' = min(max(x, min_val), max_val), element by element.

    Example: ``--drift "clamp:min_val=-2,max_val=2"``
    """

    min_val: float = attrs.field(default=-1.0, converter=float, metadata={"help": "smallest value"})
    max_val: float = attrs.field(default=1.0, converter=float, metadata={"help": "largest value"})

    def __attrs_post_init__(self) -> None:
        if self.min_val > self.max_val:
            raise ConfigError(f"clamp: min_val = {self.min_val:g} is more than max_val = {self.max_val:g}")

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        return x.clamp(self.min_val, self.max_val)
