"""How many rows a network computes at a time, where a call may have fewer than it was chosen for.

The bits of a row depend on how many rows are computed with it, so their number is constant in a run, whatever the batch
size. A small number serves a batch of one sample without computing rows that nobody reads; a large one is cheaper a
row.
"""

from __future__ import annotations

import math

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
