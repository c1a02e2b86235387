"""Asking a denoiser itself, without a backend."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.protocols import Denoiser


@attrs.frozen(eq=False)
class Direct:
    """The evaluator that asks the denoiser itself, `rows` rows at a time."""

    denoiser: Denoiser
    rows: int

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """`protocols.Evaluator`."""
        calls = []
        for i in range(0, len(x), self.rows):
            part = slice(i, i + self.rows)
            calls.append(self.denoiser.predict(x[part], t[part], RowConditions(conds.index[part], conds.variant)))
        return calls[0] if len(calls) == 1 else torch.cat(calls)
