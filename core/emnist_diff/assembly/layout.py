"""A run laid out before its network is loaded: classes, steps, terms and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch

from emnist_diff import filenames, variants
from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.directions import directed
from emnist_diff.assembly.idle import places, report_idle
from emnist_diff.components import Component, call_component
from emnist_diff.config import MOST_SAMPLES, ComponentConfig, RunConfig
from emnist_diff.engine.base import Base
from emnist_diff.engine.clip import Clip, ClipSum
from emnist_diff.engine.plan import Plan, WeightedDrift, WeightedForce, make_plan, nominal_batch, streams
from emnist_diff.engine.state import Engine
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.evaluators import Evaluator
from emnist_diff.events import get_logger
from emnist_diff.protocols import Binds, Denoiser, HasShape, ReadsOwn, Scheduler, offers
from emnist_diff.schedules import Constant, Schedule
from emnist_diff.spaces import ConditionSpace, listed
from emnist_diff.timeline import ForwardProcess, PredictionType, Timeline

log = get_logger()


@attrs.frozen(eq=False)
class Layout:
    """A run laid out before its network is loaded.

    characters: the classes to generate, in order.  labels: (N,) each sample's own class index.
    plan: the work ahead.  settings, forces: as they act; see `directions`.
    """

    characters: tuple[str, ...]
    labels: tuple[int, ...]
    scheduler: Scheduler
    timeline: Timeline
    base: Base
    terms: tuple[WeightedForce, ...]
    drifts: tuple[WeightedDrift, ...]
    plan: Plan
    settings: RunConfig
    forces: tuple[Component, ...]

    @property
    def folder(self) -> str:
        """The characters as the name of a folder, see `filenames.of_classes`."""
        return filenames.of_classes(self.characters)

    def report_idle(self) -> None:
        """Log a warning for each force and drift that does nothing at any step."""
        report_idle(self.timeline, self.terms, self.drifts)

    def with_rows(self, rows: int) -> Layout:
        """The same with so many rows in every network call."""
        return attrs.evolve(self, plan=attrs.evolve(self.plan, micro_batch=rows))

    @property
    def conditioned(self) -> bool:
        """Whether the base or a force reads the samples' own classes. Else these decide nothing of what is made."""
        read = (cond for conds in self.plan.conditions for cond in conds)
        return any(cond.kind == "own" or "own" in cond.values for cond in read) or any(
            offers(term.force, ReadsOwn) and term.force.reads_own for term in self.terms
        )

    def require_variants(self, denoisers: Mapping[str, Denoiser], called: str) -> None:
        """Raise `ConfigError` for a variant that one of these denoisers does not declare.  called: the main one."""
        for name, variant in self.plan.networks:
            if name in denoisers:
                variants.require(denoisers[name], variant, name or called)

    def share(self, settings: RunConfig, spaces: Mapping[str, ConditionSpace]) -> Plan:
        """The work of the worker that `settings` name. Rows of a call stay those of the whole run, which every worker
        must agree on."""
        if settings.world_size == 1:
            return self.plan
        ids = range(settings.rank, len(self.labels), settings.world_size)
        labels = [self.labels[i] for i in ids]
        rows, size = self.plan.micro_batch, self.plan.batch_size
        return make_plan(self.timeline, self.base, self.terms, labels, spaces, size, rows, ids, drifts=self.drifts)

    def engine(
        self,
        denoisers: Mapping[str, Denoiser],
        device: torch.device,
        evaluators: Mapping[str, Evaluator] | None = None,
        called: str = "of the run",
    ) -> Engine:
        """The engine that walks it with these denoisers, by name; `evaluators` are they on a backend, for calls of the
        plan's `micro_batch`.  called: the main one, in messages.

        Raises `ConfigError` for a variant that a denoiser does not declare, and for states that a
        force or drift does not take; `PluginError` where one raises anything else when it is asked.
        """
        self.require_variants(denoisers, called)
        parts: list[tuple[str, Any]] = [(item.label, item.force) for item in self.terms]
        parts += [(item.label, item.drift) for item in self.drifts]
        for label, part in parts:
            if offers(part, HasShape):
                call_component(label, part.require_shape, tuple(denoisers[""].shape))
        return Engine(
            dict(denoisers),
            self.scheduler,
            self.timeline,
            self.base,
            self.terms,
            self.drifts,
            self.plan.micro_batch,
            device,
            dict(evaluators or {}),
        )


def lay_out(
    settings: RunConfig,
    space: ConditionSpace,
    scheduler: Scheduler,
    forces: Sequence[Component],
    drifts: Sequence[Component],
    further: Mapping[str, ConditionSpace] | None = None,
    scheduled: str = "",
) -> Layout:
    """The run that `settings` mean on a model with the classes of `space`, with components made already; `forces` and
    `drifts` are those of `settings`.

    further: the classes of its guides, by name.  scheduled: how messages call the scheduler.

    Raises `UnknownName` for a class or a guide, `ConfigError` for impossible settings, `PluginError` for a force or
    scheduler that raises anything else, or plans no `Timeline`.
    """
    characters = space.characters(settings.character)
    scheduled = scheduled or f"scheduler {type(scheduler).__name__}"
    timeline = call_component(scheduled, scheduler.plan, settings.steps)
    if not isinstance(timeline, Timeline):
        raise PluginError(f"{scheduled}: plan() returned {type(timeline).__name__} instead of a Timeline")
    settings, forces, drifts = _as_meant(settings, forces, drifts, timeline)
    base = Base(settings.base, settings.guidance_scale)
    terms, maps = _terms(settings, forces, space), _maps(settings, drifts)
    labels = dealt([space.index(name) for name in characters], _count(settings, characters))
    nominal = nominal_batch(torch.device(choose_device(settings.device)).type)
    size = settings.batch_size or nominal
    spaces = {"": space, **(further or {})}
    plan = make_plan(timeline, base, terms, labels, spaces, size, settings.micro_batch, nominal=nominal, drifts=maps)
    if idle := sorted(settings.guides.keys() - {denoiser for denoiser, _ in plan.networks}):
        log.warning("guide.unused", guides=",".join(idle), hint="no condition of this run names it")
    _say_merged(settings, plan, space)
    return Layout(characters, labels, scheduler, timeline, base, terms, maps, plan, settings, tuple(forces))


def _terms(settings: RunConfig, forces: Sequence[Component], space: ConditionSpace) -> tuple[WeightedForce, ...]:
    """The terms of the prediction: the forces in order, and the bound on their sum behind them."""
    scopes = streams("force", [item.name for item in forces])
    terms = [
        WeightedForce(item.name, _bound(item, space), c.weight, scope, Clip(c.clip_abs, c.clip_norm), item.foreign)
        for item, c, scope in zip(forces, settings.forces, scopes, strict=True)
    ]
    if clip := Clip(settings.clip_abs, settings.clip_norm):
        terms.append(WeightedForce("clip", ClipSum(clip), Constant(1.0)))
    return tuple(terms)


def _maps(settings: RunConfig, drifts: Sequence[Component]) -> tuple[WeightedDrift, ...]:
    """The drifts in order."""
    scopes = streams("drift", [item.name for item in drifts])
    return tuple(
        WeightedDrift(item.name, item.object, scope, c.weight, item.foreign)
        for item, c, scope in zip(drifts, settings.drifts, scopes, strict=True)
    )


def _count(settings: RunConfig, characters: Sequence[str]) -> int:
    """How many samples the settings mean. Raises `ConfigError` for more than a run has at most."""
    count = settings.total_videos if settings.per_character is None else settings.per_character * len(characters)
    if count > MOST_SAMPLES:
        raise ConfigError(
            f"per_character = {settings.per_character} of {len(characters)} classes are {count} samples — a run has at "
            f"most {MOST_SAMPLES}"
        )
    if count < len(characters):
        log.warning("classes.without_samples", classes=",".join(characters[count:]), samples=count)
    return count


def _as_meant(
    settings: RunConfig, forces: Sequence[Component], drifts: Sequence[Component], timeline: Timeline
) -> tuple[RunConfig, list[Component], list[Component]]:
    """Settings, forces and drifts with negative numbers read as `directions` says, so that what is recorded is what
    acts. Raises as `directions.directed`."""
    everywhere = places(timeline)
    steps = [timeline.at(i) for i in range(len(timeline))]
    pulling = [directed("force", m, c.weight, everywhere) for m, c in zip(forces, settings.forces, strict=True)]
    moving = [directed("drift", m, c.weight, steps) for m, c in zip(drifts, settings.drifts, strict=True)]

    def said(
        asked: Sequence[ComponentConfig], given: Sequence[Component], meant: Sequence[tuple[Component, Schedule]]
    ) -> Any:
        return tuple(
            attrs.evolve(c, weight=weight, settings=c.settings if made is before else made.settings)
            for c, before, (made, weight) in zip(asked, given, meant, strict=True)
        )

    settings = attrs.evolve(
        settings, forces=said(settings.forces, forces, pulling), drifts=said(settings.drifts, drifts, moving)
    )
    return settings, [m for m, _ in pulling], [m for m, _ in moving]


def _say_merged(settings: RunConfig, plan: Plan, space: ConditionSpace) -> None:
    """Log the classes asked for that the model's dataset has folded into others."""
    said = settings.character or ""
    asked = [said, *listed(said)] if isinstance(said, str) else list(said)
    for conds in dict.fromkeys(plan.conditions):
        asked += [name for cond in conds for name in (cond.value, *cond.values)]
    if merged := [name for name in dict.fromkeys(asked) if name in space.merged]:
        log.info("class.merged", asked=",".join(merged), used=",".join(space.merged[name] for name in merged))


def dealt(indices: Sequence[int], count: int) -> tuple[int, ...]:
    """The classes of `count` samples, dealt in turn: the first samples are the same however many there are, and the
    first classes get one more where it does not divide."""
    return tuple(indices[number % len(indices)] for number in range(count))


def bound_scheduler(made: Component, schedule: ForwardProcess, prediction: PredictionType) -> Scheduler:
    """A scheduler told of the model's forward process and of what it predicts. Raises `ConfigError` where it is for
    others, `PluginError` where it raises anything else or gives no scheduler."""
    bound: Scheduler = call_component(made.label("scheduler"), made.object.bind, schedule, prediction)
    if not offers(bound, Scheduler):
        raise PluginError(
            f"{made.label('scheduler')}: bind() returned {type(bound).__name__} instead of a scheduler with plan()"
        )
    return bound


def _bound(made: Component, space: ConditionSpace) -> Any:
    """A force that wants to know the model's classes, told of them."""
    return call_component(made.label("force"), made.object.bind, space) if offers(made.object, Binds) else made.object
