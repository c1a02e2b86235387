"""The CPU threads that a run computes with, in this process and in those that are forked from it.

torch divides work on a CPU among threads of OpenMP and waits for them for ever in a forked process, which does not have
them. So the thread that goes on in such a process computes alone; threads that are started there are not concerned.
"""

from __future__ import annotations

import os

import torch

from emnist_diff.events import get_logger

log = get_logger()

_watches_forks = False
_forked = False


def use_threads(count: int | None) -> int:
    """Have torch compute with `count` threads, or as it does; returns how many. In a forked process it is one.

    Whoever runs calls it, before networks are loaded: `run.prepare`, and what walks without it.
    """
    global _watches_forks
    if not _watches_forks and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_compute_alone)
    _watches_forks = True
    if _forked and count is not None and count > 1:
        log.warning("threads.forked", threads=count, used=1, hint="start processes with 'spawn' for more threads")
        count = 1
    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def allowed_cpus() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compute_alone() -> None:
    """What happens first in a forked process."""
    global _forked
    _forked = True
    torch.set_num_threads(1)
