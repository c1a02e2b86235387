"""Noise drawn ahead of its use, while the network computes.

Keyed noise can be drawn before anybody asks for it: who drew a stream at one step most likely draws it at the next, and
every batch has a start. A guess that is wrong costs time and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import attrs
import torch
from torch import Tensor

from emnist_diff.engine.noise import INITIAL, batch_normal, fill
from emnist_diff_plugins.overlap.pinning import pinned

LEAST = 1 << 14
"""Numbers of a draw from which it is worth another thread; drawing fewer takes less than a millisecond."""

_SHARE = 1 << 18
"""Numbers that one thread draws of a large draw."""

_Key = tuple[int, str]


@attrs.define(eq=False)
class NoiseAhead:
    """`noise.batch_normal` with the next draws under way; close it at the end.

    steps: of the run, beyond which nothing is guessed.  threads: to draw in, at least 1.
    pinned: give memory from which a GPU copies while it computes.
    """

    steps: int
    threads: int = 1
    pinned: bool = False
    _pool: ThreadPoolExecutor = attrs.field(init=False)
    _of: Sequence[int] = attrs.field(init=False, default=())
    _guessed: dict[_Key, _Draw] = attrs.field(init=False, factory=dict)
    _starts: dict[tuple[int, ...], _Draw] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads, "emnist-diff-noise")

    def __call__(
        self, seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str, shape: tuple[int, ...]
    ) -> Tensor:
        """(B, *shape) float32, bit for bit `batch_normal`'s; a new tensor."""
        if len(sample_ids) * math.prod(shape) < LEAST:
            return batch_normal(seeds, sample_ids, step, stream, shape)
        if sample_ids is not self._of:  # another batch: nobody will ask for what was guessed for the one before
            self._drop(self._guessed)
            self._of = sample_ids
        if step == INITIAL:
            draw = self._starts.pop(tuple(sample_ids), None)
            self._drop(self._starts)
        else:
            draw = self._guessed.pop((step, stream), None)
        if draw is None:
            draw = self._draw(seeds, sample_ids, step, stream, shape)
        following = (step + 1, stream)
        if step != INITIAL and step + 1 < self.steps and following not in self._guessed:
            self._guessed[following] = self._draw(seeds, sample_ids, *following, shape)
        return draw.result()

    def start(self, seeds: Sequence[int], sample_ids: Sequence[int], stream: str, shape: tuple[int, ...]) -> None:
        """Begin with the starting states of a batch that will be walked later."""
        if len(sample_ids) * math.prod(shape) >= LEAST:
            self._starts[tuple(sample_ids)] = self._draw(seeds, sample_ids, INITIAL, stream, shape)

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _draw(
        self, seeds: Sequence[int], sample_ids: Sequence[int], step: int, stream: str, shape: tuple[int, ...]
    ) -> _Draw:
        out = pinned(len(sample_ids), *shape) if self.pinned else torch.empty(len(sample_ids), *shape)
        rows, each = out.numpy().reshape(len(sample_ids), -1), max(1, _SHARE // max(1, math.prod(shape)))
        parts = [slice(first, first + each) for first in range(0, len(rows), each)]
        return _Draw(out, [self._pool.submit(fill, rows[p], seeds[p], sample_ids[p], step, stream) for p in parts])

    def _drop(self, draws: dict[_Key, _Draw] | dict[tuple[int, ...], _Draw]) -> None:
        for draw in draws.values():
            draw.cancel()
        draws.clear()


@attrs.frozen(eq=False)
class _Draw:
    """A tensor that other threads are filling."""

    out: Tensor
    parts: Sequence[Future[None]]

    def result(self) -> Tensor:
        for part in self.parts:
            part.result()
        return self.out

    def cancel(self) -> None:
        for part in self.parts:
            part.cancel()
