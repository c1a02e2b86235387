"""Processes that are forked after threads were started, which the child does not have.

What holds threads asks `generation` whether they are still its own. torch divides work on a CPU among threads of OpenMP
and waits for them for ever in a forked process, so the thread that goes on there computes alone; threads that are
started there are not concerned.
"""

from __future__ import annotations

import os

import torch

from emnist_diff.events import get_logger

log = get_logger()

_forks = 0
_watching = False


def generation() -> int:
    """How often this process was forked from one that had asked this already."""
    global _watching
    if not _watching and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)
    _watching = True
    return _forks


def _forked() -> None:
    global _forks
    _forks += 1
    torch.set_num_threads(1)


def use_threads(count: int | None) -> int:
    """Have torch compute with `count` threads here, or as it does; returns how many. In a forked process it is one."""
    if _forks and count is not None and count > 1:
        log.warning("threads.forked", threads=count, used=1, hint="start processes with 'spawn' for more threads")
        count = 1
    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()
