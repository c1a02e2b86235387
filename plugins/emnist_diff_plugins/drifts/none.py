"""No drift."""

from __future__ import annotations

import attrs
from torch import Tensor

from emnist_diff.steps import Step


@attrs.frozen
class NoDrift:
    """x' = x.

    Example: ``--drift none``
    """

    def __call__(self, x: Tensor, step: Step) -> Tensor:
        return x
