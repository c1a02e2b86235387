"""Traps: what a component does behind the engine's back is noticed, and undone where that is possible."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor


@attrs.define(eq=False)
class Trapped:
    """What was noticed while a component acted.

    generators: the global generators that it drew from or seeded.  changed: the inputs that it wrote into.
    seconds: how long it took, by the clock on the wall.
    """

    generators: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    seconds: float = 0.0


def drawn(places: Iterable[tuple[str, Trapped]]) -> Iterator[str]:
    """Where a component used a global generator, of (place, what was noticed there)."""
    return (f"{place}: {', '.join(t.generators)} drawn from or seeded" for place, t in places if t.generators)


def written(places: Iterable[tuple[str, Trapped]]) -> Iterator[str]:
    """Where a component changed what it was given, of (place, what was noticed there)."""
    return (f"{place}: it wrote into {', '.join(t.changed)}" for place, t in places if t.changed)


@contextmanager
def trap(inputs: Mapping[str, Any]) -> Iterator[Trapped]:
    """Watch over the global generators of torch, numpy and Python, and over `inputs`, tensors or arrays by name.

    Generators are put back to where they were, so that no component sees what another one did to them.
    """
    seen = Trapped()
    copies = {name: _bytes(value) for name, value in inputs.items() if value is not None}
    before = _generators()
    started = time.perf_counter()
    try:
        yield seen
    finally:
        seen.seconds = time.perf_counter() - started
        after = _generators()
        seen.generators = tuple(name for name in before if _seen(name, before[name]) != _seen(name, after[name]))
        for name in seen.generators:
            _restore(name, before[name])
        seen.changed = tuple(name for name, copy in copies.items() if _bytes(inputs[name]) != copy)


def _generators() -> dict[str, Any]:
    """The state of every global generator."""
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "random": random.getstate()}
    if "numpy" in sys.modules:
        import numpy as np

        states["numpy.random"] = np.random.get_state()
    return states


def _seen(name: str, state: Any) -> Any:
    """A state as a value to be compared."""
    if name == "random":
        return state
    if name == "torch":
        return _bytes(state)
    kind, key, *rest = state
    return (kind, key.tobytes(), *rest)


def _restore(name: str, state: Any) -> None:
    if name == "torch":
        torch.set_rng_state(state)
    elif name == "random":
        random.setstate(state)
    else:
        import numpy as np

        np.random.set_state(state)


def _bytes(value: Any) -> bytes:
    """The content of a tensor or an array, to the bit."""
    array = value.detach().cpu().contiguous().numpy() if isinstance(value, Tensor) else value
    data: bytes = array.tobytes()
    return data
