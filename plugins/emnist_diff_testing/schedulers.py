"""The bench of schedulers, and the rules for them: the timeline, where a walk ends, and what it may remember."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.engine.walk import Engine, WalkState
from emnist_diff.errors import ConfigError, EmnistDiffError
from emnist_diff.protocols import Denoiser, Scheduler
from emnist_diff.steps import SchedulerResult, Step
from emnist_diff.timeline import Level, PredictionType, StepInfo, Timeline
from emnist_diff_testing.models import Model, as_models, mixture, mixtures
from emnist_diff_testing.rules import rule
from emnist_diff_testing.steering import first
from emnist_diff_testing.subjects import Subject, subject
from emnist_diff_testing.traps import Trapped, trap
from emnist_diff_testing.walks import IDS, Walk, differences, walked

SAMPLES, MEAN, SPREAD = 96, 0.5, 0.4
"""Of the one Gaussian in which walks are compared to what is known of them."""


@attrs.define(eq=False)
class Move:
    """One step of a scheduler: the step, the state it was given, what it did behind the engine's back, how often it
    evaluated again and drew noise, where it went or what it raised."""

    at: StepInfo
    x: Tensor
    trapped: Trapped
    evaluations: int = 0
    draws: int = 0
    moved: Any = None
    raised: Exception | None = None


class Watched:
    """`protocols.Scheduler` that records."""

    def __init__(self, scheduler: Scheduler, moves: list[Move]) -> None:
        self._scheduler = scheduler
        self._moves = moves

    def plan(self, steps: int) -> Timeline:
        return self._scheduler.plan(steps)

    def step(self, prediction: Tensor, step: Step) -> SchedulerResult:
        inputs = {"prediction": prediction, "step.x": step.x, "step.labels": step.labels, "step.base": step.base}
        inputs |= {f"step.memory[{name!r}]": kept for name, kept in step.memory.items()}
        evaluate, noise = step.evaluate, step.noise
        with trap(inputs) as trapped:
            move = Move(step.at, step.x, trapped)
            self._moves.append(move)

            def counted(x: Tensor, number: int) -> Tensor:
                move.evaluations += 1
                return evaluate(x, number)

            def drawn(stream: str = "") -> Tensor:
                move.draws += 1
                return noise(stream)

            step.evaluate, step.noise = counted, drawn
            try:
                move.moved = self._scheduler.step(prediction, step)
            except Exception as error:
                move.raised = error
                raise
        moved: SchedulerResult = move.moved
        return moved


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

    def gaussian(self, spread: float, steps: int) -> Model:
        """One Gaussian of numbers, on the process and with the prediction of the first model that it can walk."""
        kind: PredictionType = self.walkable[0].denoiser.prediction_type
        means = [[[MEAN] * 16]]
        exact = mixture((16,), kind, steps, classes="A", components=1, means=means, spread=spread)
        return attrs.evolve(exact, rows=SAMPLES)


def bench(component: Any, name: str = "", models: Sequence[Model | Denoiser] | None = None) -> SchedulerBench:
    """The bench of a scheduler's settings, a class or an object. Raises as `subject`."""
    return SchedulerBench(subject("scheduler", component, name), as_models(models))


@rule("scheduler", "bind() and plan() know at least one process, and say so where they do not", "a run names it first")
def binds(bench: SchedulerBench) -> Iterator[str]:
    if not bench.walkable:
        yield "; ".join(f"{label}: {error}" for label, error in bench.refusals.items())


@rule(
    "scheduler",
    "the timeline goes from noise to the image without a gap: alpha_bar rises, but where noise is added, and ends at 1",
    "forces, drifts, files and plots read the levels there, and a walk that ends before 1 leaves noise in the image",
)
def timeline(bench: SchedulerBench) -> Iterator[str]:
    adds_noise = any(move.draws for _, move in bench.moves)
    for model in bench.walkable:
        scheduler = bench.bound(model)
        for steps in (1, 2, 7, 20):
            try:
                laid = scheduler.plan(steps)
            except ConfigError:
                continue  # it may need more steps than that, and says so
            for wrong in _ill_laid(laid, steps, adds_noise):
                yield f"on {model.label}, {steps} steps: {wrong}"
                return


def _ill_laid(laid: Timeline, steps: int, adds_noise: bool) -> Iterator[str]:
    if len(laid) != steps:
        yield f"the timeline has {len(laid)} steps"
        return
    for name in ("timestep", "alpha_bar", "alpha_bar_next"):
        values = getattr(laid, name)
        if not isinstance(values, np.ndarray) or values.dtype != np.float64 or values.shape != (steps,):
            yield f"{name} is no float64 array of {steps} numbers"
            return
        if not np.isfinite(values).all():
            yield f"{name} is not finite"
            return
    if laid.alpha_bar_next[-1] != 1.0:
        yield f"it ends at alpha_bar {laid.alpha_bar_next[-1]:.6g}, not at 1"
    if (laid.alpha_bar < 0).any() or laid.alpha_bar[-1] >= 1.0:
        yield "alpha_bar leaves 0 … 1"
    falling = np.flatnonzero(laid.alpha_bar_next <= laid.alpha_bar)
    if len(falling) and not (adds_noise and laid.alpha_bar[0] < laid.alpha_bar[-1]):
        yield f"alpha_bar does not rise in step {falling[0]}"
    if (laid.alpha_bar[1:] != laid.alpha_bar_next[:-1]).any():
        yield "a step does not begin where the one before it ended"
    if laid.inner and len(laid.inner) != steps:
        yield f"inner has {len(laid.inner)} entries for {steps} steps"
    elif not all(isinstance(level, Level) for levels in laid.inner for level in levels):
        yield "inner holds something that is no Level"


@rule(
    "scheduler",
    "plan() is pure: the same steps, the same timeline",
    "the plan, the file and a resumed run each ask for it",
)
def pure_plan(bench: SchedulerBench) -> Iterator[str]:
    for model in bench.walkable:
        scheduler = bench.bound(model)
        one, _, other = (scheduler.plan(n) for n in (model.steps, model.steps + 2, model.steps))
        for name in ("timestep", "alpha_bar", "alpha_bar_next"):
            if not np.array_equal(getattr(one, name), getattr(other, name)):
                yield f"on {model.label}: {name} is another one the second time"
                return


@rule(
    "scheduler",
    "numbers of steps that cannot be laid are a ConfigError",
    "it is said before any work is done, in one line; a traceback helps nobody",
)
def impossible_steps(bench: SchedulerBench) -> Iterator[str]:
    for model in bench.walkable:
        for steps in (1, 1001, 3000):
            try:
                bench.bound(model).plan(steps)
            except EmnistDiffError:
                continue
            except Exception as error:  # whatever it is, it is no ConfigError
                yield f"on {model.label}, {steps} steps: {type(error).__name__}: {error}"
                return


@rule("scheduler", "step() gives a SchedulerResult at every step", "a scheduler that raises ends the run")
def runs(bench: SchedulerBench) -> Iterator[str]:
    for walk, moves in bench.watched:
        if walk.error is not None and not (moves and moves[-1].moved is not None):
            yield f"on {walk.model.label}: {walk.error}"
    yield from first(
        f"on {model.label} at step {move.at.index}: {type(move.moved).__name__}"
        for model, move in bench.moves
        if move.raised is None and not isinstance(move.moved, SchedulerResult)
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
                value = getattr(move.moved, name, None)
                like = move.x
                if not isinstance(value, Tensor):
                    if move.moved is not None:
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
        if isinstance(value := getattr(move.moved, name, None), Tensor) and not bool(torch.isfinite(value).all())
    )


@rule(
    "scheduler",
    "where all images are one, every walk ends in it, however few its steps",
    "the estimate of the image is exact there; a rule that does not end in it has a wrong coefficient, or leaves noise",
)
def exact_on_a_point(bench: SchedulerBench) -> Iterator[str]:
    for steps in (3, 10) if bench.walkable else ():
        walk = bench.walk(bench.gaussian(1e-4, steps))
        if walk.end is None:
            yield f"{steps} steps: {walk.error or walk.refused}"
        elif (off := float((walk.end.x - MEAN).abs().max())) > 0.01:
            yield f"after {steps} steps the image is off by {off:.3g}"


@rule(
    "scheduler",
    "with many steps the samples of a Gaussian have its mean and its spread",
    "a sampler whose samples have another distribution than the model's makes other images than the model knows",
)
def converges(bench: SchedulerBench) -> Iterator[str]:
    if not bench.walkable:
        return
    steps = 60
    walk = bench.walk(bench.gaussian(SPREAD, steps), range(SAMPLES))
    if walk.end is None:
        yield f"{steps} steps: {walk.error or walk.refused}"
        return
    standard = (walk.end.x.double() - MEAN) / SPREAD  # 1536 numbers: mean ± 0.026, deviation ± 0.018
    mean, deviation = float(standard.mean()), float(standard.std())
    if abs(mean) > 0.12 or abs(deviation - 1.0) > 0.12:
        yield f"after {steps} steps mean and deviation are {mean:.2f} and {deviation:.2f}, for 0 and 1"


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
    yield from first(
        f"on {model.label} at step {move.at.index}: {', '.join(move.trapped.generators)} drawn from or seeded"
        for model, move in bench.moves
        if move.trapped.generators
    )


@rule(
    "scheduler",
    "nothing that it is given is changed",
    "state and prediction are recorded after it has had them",
)
def no_mutation(bench: SchedulerBench) -> Iterator[str]:
    yield from first(
        f"on {model.label} at step {move.at.index}: it wrote into {', '.join(move.trapped.changed)}"
        for model, move in bench.moves
        if move.trapped.changed
    )


@rule(
    "scheduler",
    "what it remembers has one row a sample",
    "memory is written down with the state, and samples of a batch may go on apart",
)
def memory_rows(bench: SchedulerBench) -> Iterator[str]:
    yield from first(
        f"on {model.label} at step {move.at.index}: memory[{name!r}] is {_described(kept)}"
        for model, move in bench.moves
        for name, kept in getattr(move.moved, "memory", {}).items()
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
