"""Several calls of a network at once, each on its own share of the threads.

The convolutions of small networks are too short to be divided among threads well: calls beside each other keep all of
them busy, where one call after another on all threads does not.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import attrs
import torch
from torch import Tensor

from emnist_diff.direct import part_rows

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (R, *shape) float32, t (R,) float32, index (R,) int64 → (R, *shape), for one number of rows R."""

PIXELS = 2048
"""A part gets one thread of torch for each so many pixels of its images: waking more costs more than they save."""

T = TypeVar("T")


@attrs.frozen
class Cut:
    """How the `rows` of a call are divided: into parts of `size` rows, `streams` at once on `threads` threads each.

    It depends on nothing but rows, threads and the size of images, and so do the last bits of what is computed.
    """

    size: int
    streams: int
    threads: int

    @classmethod
    def of(cls, rows: int, threads: int) -> Cut:
        """Parts beside each other, on one thread each unless there are fewer rows than threads.

        rows, threads: at least 1, as in `contract.Workload`.
        """
        size = part_rows(rows, threads)
        streams = min(threads, math.ceil(rows / size))
        return cls(size, streams, threads // streams)

    @classmethod
    def in_turn(cls, rows: int, threads: int) -> Cut:
        """Parts one after another, each on all threads: for what holds Python's lock while it computes."""
        return cls(min(rows, threads * part_rows(rows, threads)), 1, threads)

    def fewer(self, shape: tuple[int, ...]) -> Cut:
        """The same cut with no more threads than images of `shape` (C, H, W) keep busy, see `PIXELS`."""
        most = max(1, self.size * math.prod(shape[1:]) // PIXELS)
        return attrs.evolve(self, threads=min(self.threads, most))


class Streams:
    """Threads that compute the parts of a call, each with `cut.threads` of torch's, however many the caller has.

    A process that is forked starts its own.
    """

    def __init__(self, cut: Cut) -> None:
        self.cut, self._pool, self._process = cut, _started(cut), os.getpid()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The threads of this process."""
        if self._process != os.getpid():
            self._pool, self._process = _started(self.cut), os.getpid()
        return self._pool

    def __call__(self, network: Network, x: Tensor, t: Tensor, index: Tensor) -> Tensor:
        """x (R, *shape), t (R,), index (R,) → (R, *shape) float32, contiguous; a last part that is not full is filled
        up with its last row.

        network: for calls of `cut.size` rows, and safe to call from several threads.
        """
        rows, size = len(x), self.cut.size
        if short := -rows % size:
            x, t, index = (torch.cat((v, v[-1:].expand(short, *v.shape[1:]))) for v in (x, t, index))
        out = torch.empty(x.shape)

        def one(start: int) -> None:
            part = slice(start, start + size)
            with torch.inference_mode():  # of this thread
                out[part] = network(x[part], t[part], index[part])

        pool = self.pool
        for done in [pool.submit(one, start) for start in range(0, len(x), size)]:
            done.result()
        return out[:rows]

    def run(self, function: Callable[[], T]) -> T:
        """Call `function` in one of the threads, so that it sees as many threads of torch as a part's call does."""
        return self.pool.submit(function).result()


def _started(cut: Cut) -> ThreadPoolExecutor:
    """Threads of which each has its own number of torch threads, all of them started."""
    everyone = threading.Barrier(cut.streams)

    def settle() -> None:
        torch.get_num_threads()  # a thread's first call takes over the process's number, so that must come first
        torch.set_num_threads(cut.threads)
        torch.get_num_threads()  # the first call after a change, in any thread, takes over the number set last
        everyone.wait()

    threads_before = torch.get_num_threads()
    pool = ThreadPoolExecutor(cut.streams, "emnist-diff-stream")
    for settled in [pool.submit(settle) for _ in range(cut.streams)]:
        settled.result()
    torch.set_num_threads(threads_before)  # the last call also sets what threads that start later get
    return pool
