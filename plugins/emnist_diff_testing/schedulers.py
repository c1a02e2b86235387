"""The bench of schedulers, and the rules for them: the timeline, where a walk ends, and what it may remember."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.engine.state import Engine, WalkState
from emnist_diff.errors import EmnistDiffError
from emnist_diff.protocols import Denoiser, Scheduler
from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import StepInfo, Timeline
from emnist_diff_testing.models import Model, as_models, mixtures
from emnist_diff_testing.rules import first, rule
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import Trapped, drawn, trap, written
from emnist_diff_testing.walks import IDS, Walk, differences, walked


@attrs.define(eq=False)
class Move:
    """One step of a scheduler: the step, the state it was given, what it did behind the engine's back, how often it
    evaluated again and drew noise, where it went or what it raised."""

    at: StepInfo
    x: Tensor
    trapped: Trapped
    evaluations: int = 0
    draws: int = 0
    result: Any = None
    raised: Exception | None = None


class Watched:
    """`protocols.Scheduler` that records."""

    def __init__(self, scheduler: Scheduler, moves: list[Move]) -> None:
        self._scheduler = scheduler
        self._moves = moves

    def plan(self, steps: int) -> Timeline:
        return self._scheduler.plan(steps)

    def step(self, prediction: Tensor, step: SchedulerStep) -> SchedulerResult:
        inputs = {"prediction": prediction, "step.x": step.x, "step.labels": step.labels}
        inputs |= {f"step.memory[{name!r}]": kept for name, kept in step.memory.items()}
        with trap(inputs) as trapped:
            move = Move(step.at, step.x, trapped)
            self._moves.append(move)

            def counted(x: Tensor, number: int) -> Tensor:
                move.evaluations += 1
                return step.evaluate(x, number)

            def drawn(stream: str = "") -> Tensor:
                move.draws += 1
                return step.noise(stream)

            try:
                move.result = self._scheduler.step(prediction, attrs.evolve(step, evaluate=counted, noise=drawn))
            except Exception as error:
                move.raised = error
                raise
        result: SchedulerResult = move.result
        return result


@attrs.define(eq=False, slots=False)
class SchedulerBench:
    """A scheduler's settings, and walks of the models that it can walk."""

    subject: Subject
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.subject.name

    def bound(self, model: Model) -> Scheduler:
        """A fresh scheduler for a model. Raises `ConfigError` where it cannot walk it."""
        scheduler: Scheduler = self.subject.make().bind(model.denoiser.process, model.denoiser.prediction_type)
        return scheduler

    @cached_property
    def refusals(self) -> Mapping[str, EmnistDiffError]:
        """Why it cannot walk some of the models, by label."""
        return {model.label: error for model in self.models if (error := self._refusal(model)) is not None}

    def refused(self) -> dict[str, str]:
        """The same in words."""
        return {label: str(error) for label, error in self.refusals.items()}

    def _refusal(self, model: Model) -> EmnistDiffError | None:
        try:
            self.bound(model).plan(model.steps)
        except EmnistDiffError as error:
            return error
        return None

    @cached_property
    def walkable(self) -> tuple[Model, ...]:
        """The models that it can walk; networks only where there is nothing else."""
        usable = [model for model in self.models if model.label not in self.refusals]
        exact = [model for model in usable if any(model is known for known in mixtures())]
        return tuple(exact or usable)

    def walk(
        self,
        model: Model,
        ids: Sequence[int] = IDS,
        start: WalkState | None = None,
        scheduler: Scheduler | None = None,
        moves: list[Move] | None = None,
    ) -> Walk:
        """A walk of a model by a fresh scheduler, unless one is given; `moves` makes it a watched one."""
        return walked(model, partial(self._engine, model, scheduler, moves), ids, None, start)

    def _engine(self, model: Model, scheduler: Scheduler | None, moves: list[Move] | None) -> Engine:
        bound = scheduler or self.bound(model)
        watched = bound if moves is None else Watched(bound, moves)
        return attrs.evolve(model.engine(), scheduler=watched, timeline=bound.plan(model.steps))

    @cached_property
    def watched(self) -> tuple[tuple[Walk, list[Move]], ...]:
        """A walk of each model that it can walk, and its moves."""
        out = []
        for model in self.walkable:
            moves: list[Move] = []
            out.append((self.walk(model, moves=moves), moves))
        return tuple(out)

    @cached_property
    def moves(self) -> tuple[tuple[Model, Move], ...]:
        """Every move of every walk, with its model."""
        return tuple((walk.model, move) for walk, moves in self.watched for move in moves)

    @cached_property
    def whole(self) -> tuple[Walk, ...]:
        """The walks that arrived."""
        return tuple(walk for walk, _ in self.watched if walk.end is not None)


def bench(component: Any, name: str = "", models: Sequence[Model | Denoiser] | None = None) -> SchedulerBench:
    """The bench of a scheduler's settings, a class or an object. Raises as `subject`."""
    return SchedulerBench(subject("scheduler", component, name), as_models(models))


@rule("scheduler", "step() gives a SchedulerResult at every step", "a scheduler that raises ends the run")
def runs(bench: SchedulerBench) -> Iterator[str]:
    for walk, moves in bench.watched:
        if walk.error is not None and not (moves and moves[-1].result is not None):
            yield f"on {walk.model.label}: {walk.error}"
    yield from first(
        f"on {model.label} at step {move.at.index}: {type(move.result).__name__}"
        for model, move in bench.moves
        if move.raised is None and not isinstance(move.result, SchedulerResult)
    )


@rule(
    "scheduler",
    "the next state and the estimate of the image have the state's shape, dtype and device",
    "the walk goes on from them, and the trajectory file has room for nothing else",
)
def shape(bench: SchedulerBench) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for model, move in bench.moves:
            for name in ("x_prev", "x0"):
                value = getattr(move.result, name, None)
                like = move.x
                if not isinstance(value, Tensor):
                    if move.result is not None:
                        yield f"on {model.label} at step {move.at.index}: {name} is {type(value).__name__}"
                elif (value.shape, value.dtype, value.device) != (like.shape, like.dtype, like.device):
                    yield (
                        f"on {model.label} at step {move.at.index}: {name} is {tuple(value.shape)} {value.dtype} on "
                        f"{value.device} instead of {tuple(like.shape)} {like.dtype} on {like.device}"
                    )

    yield from first(seen())


@rule(
    "scheduler",
    "the next state and the estimate of the image are finite, from the first level to the last",
    "one infinity ends the run; at the first level of a flow there is no signal, at the last of any no noise",
)
def finite(bench: SchedulerBench) -> Iterator[str]:
    yield from first(
        f"on {model.label} at step {move.at.index}: {name} has NaN or infinite values"
        for model, move in bench.moves
        for name in ("x_prev", "x0")
        if isinstance(value := getattr(move.result, name, None), Tensor) and not bool(torch.isfinite(value).all())
    )


@rule(
    "scheduler",
    "the network is asked as often as the timeline says",
    "rows of the network are counted before the run, and the inner levels are part of the record",
)
def declared_evaluations(bench: SchedulerBench) -> Iterator[str]:
    yield from first(
        f"on {model.label} at step {move.at.index}: {move.evaluations} evaluations, "
        f"and inner levels for {len(move.at.inner)}"
        for model, move in bench.moves
        if move.raised is None and move.evaluations != len(move.at.inner)
    )


@rule(
    "scheduler",
    "the same samples take the same way, whenever they are walked",
    "noise comes from step.noise(), keyed by seed, sample and step: a run can be repeated, replayed and resumed",
)
def determinism(bench: SchedulerBench) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for walk in bench.whole:
            yield from _unequal(walk, bench.walk(walk.model), "a second walk differs in")
            used = bench.bound(walk.model)
            bench.walk(walk.model, scheduler=used)
            yield from _unequal(walk, bench.walk(walk.model, scheduler=used), "a scheduler used before differs in")

    yield from first(seen())


@rule(
    "scheduler",
    "a sample's way depends neither on its neighbours nor on its place in the batch",
    "samples are batched, shared among workers and resumed in any cut",
)
def batch_independence(bench: SchedulerBench) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for walk in bench.whole:
            for ids in ((2,), (3, 0), tuple(reversed(IDS))):
                what = f"walked as {', '.join(map(str, ids))} instead of {IDS}, they differ in"
                yield from _unequal(walk, bench.walk(walk.model, ids), what)

    yield from first(seen())


@rule(
    "scheduler",
    "the global generators of torch, numpy and random are left alone",
    "they give every run, batch and worker other numbers; step.noise() gives each sample its own, the same everywhere",
)
def no_global_random(bench: SchedulerBench) -> Iterator[str]:
    yield from first(drawn((f"on {m.label} at step {move.at.index}", move.trapped) for m, move in bench.moves))


@rule(
    "scheduler",
    "nothing that it is given is changed",
    "state and prediction are recorded after it has had them",
)
def no_mutation(bench: SchedulerBench) -> Iterator[str]:
    yield from first(written((f"on {m.label} at step {move.at.index}", move.trapped) for m, move in bench.moves))


@rule(
    "scheduler",
    "what it remembers has one row a sample",
    "memory is written down with the state, and samples of a batch may go on apart",
)
def memory_rows(bench: SchedulerBench) -> Iterator[str]:
    yield from first(
        f"on {model.label} at step {move.at.index}: memory[{name!r}] is {_described(kept)}"
        for model, move in bench.moves
        for name, kept in getattr(move.result, "memory", {}).items()
        if not isinstance(kept, Tensor) or kept.dim() == 0 or len(kept) != len(move.x)
    )


@rule(
    "scheduler",
    "a walk stopped after any step goes on to the same bits, in another process",
    "what is remembered between steps belongs into SchedulerResult.memory, which is written down; an attribute is lost",
)
def resumable(bench: SchedulerBench) -> Iterator[str]:
    def seen() -> Iterator[str]:
        for walk in bench.whole:
            for place in walk.places[:-1]:
                again = bench.walk(walk.model, start=pickle.loads(pickle.dumps(place)))
                yield from _unequal(walk, again, f"stopped before step {place.index}, the walk differs in")

    yield from first(seen())


def _unequal(one: Walk, other: Walk, what: str) -> Iterator[str]:
    """What sets two walks of the same samples apart."""
    if other.end is None:
        yield f"on {one.model.label}: {other.error or other.refused}"
    elif found := differences(one, other):
        yield f"on {one.model.label}, {what} {found[0]}" + (f" and {len(found) - 1} more" if found[1:] else "")


def _described(value: object) -> str:
    return f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
