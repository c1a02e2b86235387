"""Computing with one CPU thread, for bits that do not depend on where a row stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(device: torch.device | str) -> Iterator[None]:
    """What this thread asks torch for on a CPU is computed by one thread; other devices are left alone.

    With several, torch divides the elements of a tensor among them, and what is left over at the end of a thread's
    share, as matrix products of a few rows, can come out with another last bit than the same row elsewhere (SiLU with
    three threads, linear layers of five or six rows with two).
    """
    before = torch.get_num_threads()
    if torch.device(device).type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
