"""A denoiser evaluated without a backend, some rows at a time.

The bits of a row depend on how many rows are computed with it, so their number is constant in a run, whatever the batch
size. A small number serves a batch of one sample without computing rows that nobody reads; a large one is cheaper a
row.
"""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.evaluators import Evaluator, HasRows
from emnist_diff.protocols import Denoiser, offers

LOSS = 1.05
"""What a full call may take in small parts, of what it takes in the parts that are fastest."""

MOST = 16
"""Rows of a part from which more are no cheaper a row on a CPU: the images of a layer no longer fit the cache."""

PRICE = 0.5
"""What a part costs beside its rows, in rows: on a CPU, a call of one row takes 1.5 times as long a row as one of many,
and a call of eight 1.06 times."""


def part_rows(rows: int, threads: int) -> int:
    """The rows of a part, when calls of `rows` rows are cut into parts that `threads` threads compute beside each
    other: as few as a full call can be computed in without taking more than `LOSS` times as long.

    Parts are even, so that the threads end together.  rows, threads: at least 1.
    """

    def size(rounds: int) -> int:
        return math.ceil(rows / (rounds * threads))

    fewest = math.ceil(math.ceil(rows / MOST) / threads)
    most = LOSS * fewest * (size(fewest) + PRICE)
    rounds = range(fewest, math.ceil(rows / threads) + 1)
    return min(size(count) for count in rounds if count * (size(count) + PRICE) <= most)


def rows_of(evaluator: Evaluator, most: int) -> int:
    """The rows that an evaluator computes together, which was made for calls of `most` rows."""
    return int(evaluator.rows) if offers(evaluator, HasRows) else most


@attrs.frozen(eq=False)
class Direct:
    """The evaluator that calls the denoiser itself, `rows` rows at a time."""

    denoiser: Denoiser
    rows: int

    @classmethod
    def of(cls, denoiser: Denoiser, rows: int, device: torch.device, threads: int) -> Direct:
        """The same for calls chosen for `rows` rows: on a CPU it computes a part of them at a time, each on all
        `threads`."""
        return cls(denoiser, rows if device.type != "cpu" else min(rows, threads * part_rows(rows, threads)))

    def __call__(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """`evaluators.Evaluator`."""
        calls = []
        for i in range(0, len(x), self.rows):
            part = slice(i, i + self.rows)
            calls.append(self.denoiser.predict(x[part], t[part], RowConditions(conds.index[part], conds.variant)))
        return calls[0] if len(calls) == 1 else torch.cat(calls)
