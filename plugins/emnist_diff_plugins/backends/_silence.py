"""Torch's tracer without its warnings."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()
"""Filters of warnings belong to the process: of two threads at once, the later would restore those of the other."""


@contextmanager
def silence() -> Iterator[None]:
    """Inside, one thread at a time calls torch's tracer; its warnings that it is deprecated, and that values which
    depend on shapes become constants (as they should), are ignored."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
