"""The bench of forces and drifts, and the rules that bind both: what acts in every step acts on each sample alone."""

from __future__ import annotations

import pickle
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.engine.state import Engine, WalkState
from emnist_diff_testing.models import Model, networks
from emnist_diff_testing.rules import first, rule
from emnist_diff_testing.subjects import Subject
from emnist_diff_testing.traps import drawn, written
from emnist_diff_testing.walks import IDS, Walk, differences, walked
from emnist_diff_testing.watching import Call

BOTH = ("force", "drift")
"""The kinds that these rules bind."""

SLOW = 0.02
"""Seconds of a call below which nobody minds its share of a step."""


@attrs.define(eq=False, slots=False)
class Steering(ABC):
    """A force or a drift, and walks of some models with it; each walk is made when a rule first asks for it."""

    subject: Subject
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.subject.name

    @abstractmethod
    def engine(self, model: Model, component: Any, calls: list[Call] | None, weight: float) -> Engine:
        """The engine that walks `model` with the component as the run's only one, under a watch that fills `calls` if
        that is said. Raises `ConfigError` where it does not work with the model."""

    def walk(
        self,
        model: Model,
        component: Any = None,
        ids: Sequence[int] = IDS,
        start: WalkState | None = None,
        watch: bool = False,
        weight: float = 1.0,
    ) -> Walk:
        """A walk of the samples with these ids, with a fresh component unless one is given.

        start: where an earlier walk of the same samples stopped.  watch: keep a record of its calls.
        """
        component = self.subject.make() if component is None else component
        calls: list[Call] | None = [] if watch else None
        return walked(model, partial(self.engine, model, component, calls, weight), ids, calls, start)

    @abstractmethod
    def blank(self, model: Model) -> Walk:
        """A watched walk in which the component is given states that are zero everywhere."""

    @cached_property
    def walks(self) -> tuple[Walk, ...]:
        """A walk of each model, all with one component under watch."""
        component = self.subject.make()
        return tuple(self.walk(model, component, watch=True) for model in self.models)

    def refused(self) -> dict[str, str]:
        """The models that it does not work with, by label, and why in its own words."""
        return {walk.model.label: str(walk.refused) for walk in self.walks if walk.refused is not None}

    @cached_property
    def calls(self) -> tuple[tuple[Model, Call], ...]:
        """Every call of every walk, with its model."""
        return tuple((walk.model, call) for walk in self.walks for call in walk.calls)

    @cached_property
    def whole(self) -> tuple[Walk, ...]:
        """The walks that arrived; of networks only where nothing else did, because these are expensive to repeat."""
        arrived = [walk for walk in self.walks if walk.end is not None]
        cheap = [walk for walk in arrived if not any(walk.model is model for model in networks())]
        return tuple(cheap or arrived)


def spot(model: Model, call: Call) -> str:
    """Where a call happened, for messages."""
    return f"on {model.label} at step {call.at.index} (alpha_bar {call.at.alpha_bar:.3g})"


@rule(
    BOTH,
    "it can be evaluated at every step",
    "a component that raises ends the run",
)
def runs(bench: Steering) -> Iterator[str]:
    for walk in bench.walks:
        last = walk.calls[-1] if walk.calls else None
        if walk.error is None or (last is not None and (last.undeclared or last.returned is not None)):
            continue  # what it read or returned is another rule's to judge
        yield f"on {walk.model.label}: {walk.error}"
    if all(walk.refused is not None for walk in bench.walks):
        reasons = "; ".join(f"{walk.model.label}: {walk.refused}" for walk in bench.walks)
        yield f"it works with none of the models that were tried ({reasons}) — give the kit one with models=[…]"


@rule(
    BOTH,
    "what it returns has the state's shape",
    "a contribution is added to the prediction, and the walk goes on from a state; what broadcasts reaches samples and "
    "pixels that nobody meant, and the trajectory file has room for states of one shape",
)
def shape(bench: Steering) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: {_shape(call.returned)} instead of {tuple(call.like.shape)}"
        for model, call in bench.calls
        if call.raised is None and _shape(call.returned) != tuple(call.like.shape)
    )


@rule(
    BOTH,
    "what it returns has the state's dtype",
    "float64 would change the arithmetic of everything after it, and half precision lose what the file records",
)
def dtype(bench: Steering) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: {call.returned.dtype} instead of {call.like.dtype}"
        for model, call in bench.calls
        if isinstance(call.returned, Tensor) and call.returned.dtype != call.like.dtype
    )


@rule(
    BOTH,
    "what it returns is on the state's device, GPUs included",
    "tensors made without a device are made on the CPU, and adding them fails on the first GPU",
)
def device(bench: Steering) -> Iterator[str]:
    yield from first(
        f"{spot(model, call)}: {call.returned.device} instead of {call.like.device}"
        for model, call in bench.calls
        if isinstance(call.returned, Tensor) and call.returned.device != call.like.device
    )
    for walk in bench.whole[:1] if torch.cuda.is_available() else ():
        on_gpu = walk.model.on("cuda")
        if on_gpu is not None and (error := bench.walk(on_gpu, watch=True).error) is not None:
            yield f"on {walk.model.label}, on a GPU: {error}"


@rule(
    BOTH,
    "what it returns is finite, from the first level, which may hold no signal, to the last",
    "one infinity ends the run; divide by alpha_bar, sigma and norms with care, they reach 0 and infinity",
)
def finite(bench: Steering) -> Iterator[str]:
    def seen(walks: Sequence[Walk], of: str) -> Iterator[str]:
        for walk in walks:
            for call in walk.calls:
                if isinstance(call.returned, Tensor) and not bool(torch.isfinite(call.returned).all()):
                    yield f"{spot(walk.model, call)}: NaN or infinite{of}"

    yield from first(seen(bench.walks, ""))
    blank = [bench.blank(walk.model) for walk in bench.whole[:1]]  # neither contrast nor norm to divide by
    yield from first(seen(blank, ", for states that are zero everywhere"))


@rule(
    BOTH,
    "the same samples get the same values, whenever they are walked",
    "randomness comes from step.noise(), keyed by seed, sample and step: a run can be repeated, replayed and resumed",
)
def determinism(bench: Steering) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for walk in bench.whole:
            yield from _unequal(walk, bench.walk(walk.model), "a second walk with a fresh component differs in")
        for walk in bench.whole[:1]:
            used = bench.subject.make()
            bench.walk(walk.model, used)
            yield from _unequal(walk, bench.walk(walk.model, used), "a second walk with the same component differs in")

    yield from first(seen())


@rule(
    BOTH,
    "what it returns for a sample depends neither on its neighbours nor on its place in the batch",
    "samples are batched, shared among workers and resumed in any cut; norms, means and clips are per sample",
)
def batch_independence(bench: Steering) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for walk in bench.whole:
            for ids in ((2,), (3, 0), tuple(reversed(IDS))):
                what = f"walked as {', '.join(map(str, ids))} instead of {IDS}, they differ in"
                yield from _unequal(walk, bench.walk(walk.model, ids=ids), what)

    yield from first(seen())


@rule(
    BOTH,
    "the global generators of torch, numpy and random are left alone",
    "they give every run, batch and worker other numbers; step.noise() gives each sample its own, the same everywhere",
)
def no_global_random(bench: Steering) -> Iterator[str]:
    yield from first(drawn((spot(model, call), call.trapped) for model, call in bench.calls))


@rule(
    BOTH,
    "nothing that it is given is changed",
    "the same tensors are the state, the other forces' predictions, and what is recorded; x += 1 writes into them all",
)
def no_mutation(bench: Steering) -> Iterator[str]:
    yield from first(written((spot(model, call), call.trapped) for model, call in bench.calls))


@rule(
    BOTH,
    "a walk stopped after any step goes on to the same bits, in another process",
    "what is remembered from step to step belongs into step.memory, which is written down; an attribute is lost",
)
def resumable(bench: Steering) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for walk in bench.whole:
            for place in walk.places[:-1]:
                again = bench.walk(walk.model, start=pickle.loads(pickle.dumps(place)))
                yield from _unequal(walk, again, f"stopped before step {place.index}, the walk differs in")

    yield from first(seen())


@rule(
    BOTH,
    "a call takes a small share of its step",
    "the network should be what a run spends its time on",
    warning=True,
)
def time_budget(bench: Steering) -> Iterator[str]:
    if getattr(bench.subject.factory, "gradient", False):
        return  # going back through the network is the network's time
    for walk in bench.walks:
        if walk.end is None or not walk.calls:
            continue
        call = statistics.median(call.seconds for call in walk.calls)
        share = call * len(walk.calls) / walk.seconds
        if call > SLOW and share > 0.5:
            yield f"on {walk.model.label} a call takes {1000 * call:.0f} ms, {min(share, 1.0):.0%} of the walk"
            return


def _unequal(one: Walk, other: Walk, what: str) -> Iterator[str]:
    """What sets two walks of the same samples apart."""
    if other.end is None:
        yield f"on {one.model.label}, {what.rpartition(' differ')[0]}: {other.error or other.refused}"
        return
    found = differences(one, other)
    if found:
        yield f"on {one.model.label}, {what} {found[0]}" + (f" and {len(found) - 1} more" if found[1:] else "")


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
