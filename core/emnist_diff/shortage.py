"""Memory that does not suffice, whichever way torch, its libraries or Python say so."""

from __future__ import annotations

import re

import torch

_SHORT = re.compile(
    "(out of|can't allocate|not enough|cannot allocate) memory|bad_alloc|bad allocation|alloc_failed", re.IGNORECASE
)
"""In messages of CUDA, of torch's allocator on a CPU, of systems, of C++, and of cuDNN and cuBLAS."""


def out_of_memory(error: BaseException | None) -> bool:
    """Whether this error, or one that it was raised from, says that memory is short."""
    while error is not None:
        if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and _SHORT.search(str(error)):
            return True
        error = error.__cause__
    return False


def described(what: str, error: Exception) -> str:
    """What raised `error`, and how, in one line without the library's advice where it is memory that is short."""
    if out_of_memory(error):
        return f"{what}: memory does not suffice — use a smaller --batch-size or --micro-batch"
    return f"{what} raised {type(error).__name__}: {error}"
