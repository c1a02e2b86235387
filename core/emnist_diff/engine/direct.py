"""Asking a denoiser itself, without a backend."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.engine.parts import part_rows
from emnist_diff.evaluators import Evaluator, HasRows
from emnist_diff.protocols import Denoiser, offers


def rows_of(evaluator: Evaluator, most: int) -> int:
    """The rows that an evaluator computes together, which was made for calls of `most` rows."""
    return int(evaluator.rows) if offers(evaluator, HasRows) else most


@attrs.frozen(eq=False)
class Direct:
    """The evaluator that asks the denoiser itself, `rows` rows at a time."""

    denoiser: Denoiser
    rows: int

    @classmethod
    def of(cls, denoiser: Denoiser, rows: int, device: torch.device, threads: int) -> Direct:
        """The same for calls chosen for `rows` rows: on a CPU it is asked for a part of them at a time, each on all
        `threads`."""
        return cls(denoiser, rows if device.type != "cpu" else min(rows, threads * part_rows(rows, threads)))

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """`evaluators.Evaluator`."""
        calls = []
        for i in range(0, len(x), self.rows):
            part = slice(i, i + self.rows)
            calls.append(self.denoiser.predict(x[part], t[part], RowConditions(conds.index[part], conds.variant)))
        return calls[0] if len(calls) == 1 else torch.cat(calls)
