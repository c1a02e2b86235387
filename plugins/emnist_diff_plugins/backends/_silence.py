"""Torch's tracer without what it warns of."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()
"""What is ignored is the whole process's: of two threads that put it back, the later would put back the other's."""


@contextmanager
def silence() -> Iterator[None]:
    """For what asks torch's tracer, by one thread at a time: no word that it will go some day, nor that what depends on
    shapes is fixed, as it is meant to be."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
