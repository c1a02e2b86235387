"""Walks of a model with one component in it, and what can be said of two of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.engine.state import Batch, Engine, WalkState
from emnist_diff.engine.walk import walk
from emnist_diff.errors import EmnistDiffError, RunFailed
from emnist_diff.frames import FIELDS, BatchResult, Frame
from emnist_diff_testing.models import Model, labels_of
from emnist_diff_testing.traps import trap
from emnist_diff_testing.watching import Call

IDS = (0, 1, 2, 3)
SEED = 11


@attrs.define(eq=False)
class Walk:
    """A walk of some samples.

    frames: of every step, with all fields.  end: where it ended, or None where it failed.
    error: why.  refused: why the component cannot work with this model, in its own words.
    places: the walk between steps.  calls: of the component under test.
    """

    model: Model
    ids: tuple[int, ...]
    frames: list[Frame] = attrs.field(factory=list)
    end: BatchResult | None = None
    error: RunFailed | None = None
    refused: EmnistDiffError | None = None
    places: list[WalkState] = attrs.field(factory=list)
    calls: list[Call] = attrs.field(factory=list)
    seconds: float = 0.0


def walked(
    model: Model,
    engine_of: Callable[[], Engine],
    ids: Sequence[int] = IDS,
    calls: list[Call] | None = None,
    start: WalkState | None = None,
) -> Walk:
    """The walk of the samples with these ids.

    engine_of: makes the engine; what it refuses is the walk's `refused`.  calls: the list that a watched component
    fills.  start: where an earlier walk of the same samples stopped.
    """
    out = Walk(model, tuple(ids), calls=[] if calls is None else calls)
    started = time.perf_counter()
    try:
        with trap({}):  # a component that uses the global generators must not change what its callers draw
            engine = engine_of()
            batch = Batch(tuple(range(len(ids))), out.ids, labels_of(model, ids), (SEED,) * len(ids))
            for event in walk(engine, batch, lambda at: frozenset(FIELDS), start, out.places.append):
                if isinstance(event, Frame):
                    out.frames.append(event)
                else:
                    out.end = event
    except RunFailed as error:
        out.error = error
    except EmnistDiffError as error:
        out.refused = error
    except Exception as error:  # raised by a stranger before the engine's guard: its conditions(), its bound()
        out.error = RunFailed(f"{type(error).__name__}: {error}")
    out.seconds = time.perf_counter() - started
    return out


def differences(one: Walk, other: Walk, ids: Iterable[int] | None = None) -> list[str]:
    """Where two walks of the same samples are not the same to the bit; only of the samples `ids`, if said.

    The later walk may have begun in the middle.
    """
    shared = [i for i in one.ids if i in other.ids and (ids is None or i in ids)]
    rows = [(one.ids.index(i), other.ids.index(i)) for i in shared]
    out = []
    skipped = len(one.frames) - len(other.frames)
    for a, b in zip(one.frames[skipped:], other.frames, strict=True):
        for name, first in sorted(a.items(), key=lambda item: item[0] == "x0"):  # it follows from the others
            out += [
                f"{name} of sample {i} at step {a.at.index}"
                for i, (r, s) in zip(shared, rows, strict=True)
                if not _same(first[r], b[name][s])
            ]
        if out:
            return out
    if one.end is not None and other.end is not None:
        out = [
            f"the final state of sample {i}"
            for i, (r, s) in zip(shared, rows, strict=True)
            if not _same(one.end.x[r], other.end.x[s])
        ]
    return out


def _same(one: Tensor, other: Tensor) -> bool:
    """To the bit."""
    return one.shape == other.shape and bool(torch.equal(one, other))
