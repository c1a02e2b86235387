"""No drift."""

from __future__ import annotations

import attrs
from torch import Tensor

from emnist_diff.steps import DriftStep


@attrs.frozen
class NoDrift:
    """x' = x.

    Example: ``--drift none``
    """

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        return x
