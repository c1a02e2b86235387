"""A run laid out before its network is loaded: classes, steps, forces, drifts and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch

from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.reviews import reviews
from emnist_diff.components import Component, call_component, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.engine.base import Base, Clip, ClipSum
from emnist_diff.engine.plan import (
    NOMINAL_BATCH,
    NOMINAL_BATCH_GPU,
    Evaluations,
    Labels,
    Plan,
    WeightedDrift,
    WeightedForce,
    make_plan,
    streams,
)
from emnist_diff.engine.state import Engine
from emnist_diff.errors import PluginError
from emnist_diff.evaluators import Prepared
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Binds, Denoiser, HasShape, HoldsImages, ReadsOwn, Scheduler, offers
from emnist_diff.records import DriftSpec, ForceSpec, Spec
from emnist_diff.schedules import Constant
from emnist_diff.spaces import ConditionSpace
from emnist_diff.surroundings import Review
from emnist_diff.timeline import ForwardProcess, PredictionType, Timeline


@attrs.frozen(eq=False)
class Layout:
    """A run laid out before its network is loaded.

    settings: with forces and drifts as they act, which reviews may have amended.
    components: forces, then drifts, by their place in the settings, ``forces[0]``.
    spaces: the condition spaces of the networks by name; ``""`` is the main one.
    characters: the classes to generate, in order.  labels: of the N samples of all workers.  plan: the work ahead.
    """

    settings: RunConfig
    components: Mapping[str, Component]
    spaces: Mapping[str, ConditionSpace]
    characters: tuple[str, ...]
    labels: Labels
    scheduler: Scheduler
    timeline: Timeline
    base: Base
    terms: tuple[WeightedForce, ...]
    drifts: tuple[WeightedDrift, ...]
    plan: Plan

    def with_rows(self, rows: int) -> Layout:
        """The same with so many rows in every network call."""
        return attrs.evolve(self, plan=attrs.evolve(self.plan, micro_batch=rows))

    @property
    def conditioned(self) -> bool:
        """Whether the base or a force reads the samples' own classes. Else these decide nothing of the samples."""
        read = (cond for conds in self.plan.evaluations.conditions for cond in conds)
        return any(cond.kind == "own" or "own" in cond.values for cond in read) or any(
            offers(term.force, ReadsOwn) and term.force.reads_own for term in self.terms
        )

    def share(self) -> Plan:
        """The work of this worker. Rows of a call stay those of the whole run, which every worker must agree on."""
        plan, own = self.plan, self.labels[self.settings.rank :: self.settings.world_size]
        return make_plan(plan.evaluations, self.spaces, own, plan.batch_size, plan.micro_batch)

    def engine(
        self,
        denoisers: Mapping[str, Denoiser],
        device: torch.device,
        backend: Prepared | None = None,
    ) -> Engine:
        """The engine that walks it with these denoisers, by name.  backend: that they are on, for calls of the plan's
        `micro_batch`; None has them evaluated as they are.

        Raises `ConfigError` for states that a force or drift does not take; `PluginError` where it raises anything
        else.
        """
        own = denoisers[""]
        forces = tuple(attrs.evolve(item, force=_fitting(item.label, item.force, own)) for item in self.terms)
        drifts = tuple(attrs.evolve(item, drift=_fitting(item.label, item.drift, own)) for item in self.drifts)
        return Engine(
            dict(denoisers),
            self.scheduler,
            self.timeline,
            self.base,
            forces,
            drifts,
            micro_batch=self.plan.micro_batch,
            device=device,
            evaluators=dict(backend.evaluators) if backend else {},
            decoder=backend.decoder if backend else None,
        )


def _fitting(label: str, part: Any, denoiser: Denoiser) -> Any:
    """A force or drift whose images are states of the denoiser, and which takes states of this shape."""
    part = call_component(label, part.encoded, denoiser) if offers(part, HoldsImages) else part
    if offers(part, HasShape):
        call_component(label, part.require_shape, tuple(denoiser.shape))
    return part


def lay_out(
    registry: Registry, settings: RunConfig, spaces: Mapping[str, ConditionSpace], scheduler: Scheduler, label: str
) -> Layout:
    """The run that `settings` mean.

    spaces: as of `Layout`.  scheduler: bound to the model's process.  label: what messages call the scheduler.

    Raises the errors of `components.make`, `UnknownName` for a class or a guide, `ConfigError` for impossible settings,
    `PluginError` for a force or scheduler that raises anything else, or plans no `Timeline`.
    """
    space = spaces[""]
    forces = [(make(registry, ForceSpec, config), config) for config in settings.forces]
    drifts = [(make(registry, DriftSpec, config), config) for config in settings.drifts]
    characters = space.characters(settings.character)
    timeline = call_component(label, scheduler.plan, settings.steps)
    if not isinstance(timeline, Timeline):
        raise PluginError(f"{label}: plan() returned {type(timeline).__name__} instead of a Timeline")
    for review in reviews(registry):
        forces = [_amended(review, ForceSpec, *force, timeline) for force in forces]
        drifts = [_amended(review, DriftSpec, *drift, timeline) for drift in drifts]
    settings = attrs.evolve(settings, forces=tuple(c for _, c in forces), drifts=tuple(c for _, c in drifts))
    base = Base(settings.base, settings.guidance_scale)
    terms, maps = _terms(settings, forces, space), _maps(drifts)
    count = settings.total_videos if settings.per_character is None else settings.per_character * len(characters)
    labels = Labels(tuple(space.index(name) for name in characters), range(count))
    nominal = NOMINAL_BATCH if torch.device(choose_device(settings.device)).type == "cpu" else NOMINAL_BATCH_GPU
    evaluations, size = Evaluations.of(timeline, base, terms, maps), settings.batch_size or nominal
    plan = make_plan(evaluations, spaces, labels, size, settings.micro_batch, nominal=nominal)
    components = {f"forces[{number}]": force for number, (force, _) in enumerate(forces)}
    components |= {f"drifts[{number}]": drift for number, (drift, _) in enumerate(drifts)}
    return Layout(settings, components, spaces, characters, labels, scheduler, timeline, base, terms, maps, plan)


_Configured = tuple[Component, ComponentConfig]


def _amended(
    review: Review, kind: type[Spec], component: Component, config: ComponentConfig, timeline: Timeline
) -> _Configured:
    """A force or drift as a review has it, so that what is recorded is what acts."""
    amended, weight = review.amend(kind.kind, component, config.weight, timeline)
    settings = config.settings if amended is component else amended.settings
    return amended, attrs.evolve(config, weight=weight, settings=settings)


def _terms(settings: RunConfig, forces: Sequence[_Configured], space: ConditionSpace) -> tuple[WeightedForce, ...]:
    """The terms of the prediction: the forces in order, and the bound on their sum behind them."""
    scopes = streams("force", [force.name for force, _ in forces])
    terms = []
    for (force, config), scope in zip(forces, scopes, strict=True):
        clip, label = Clip(config.clip_abs, config.clip_norm), force.label("force")
        terms.append(WeightedForce(force.name, _bound(force, space), config.weight, scope, clip, label))
    if clip_of_sum := Clip(settings.clip_abs, settings.clip_norm):
        terms.append(WeightedForce("clip", ClipSum(clip_of_sum), Constant(1.0)))
    return tuple(terms)


def _maps(drifts: Sequence[_Configured]) -> tuple[WeightedDrift, ...]:
    """The drifts in order."""
    scoped = zip(drifts, streams("drift", [drift.name for drift, _ in drifts]), strict=True)
    return tuple(WeightedDrift(d.name, d.object, scope, c.weight, d.label("drift")) for (d, c), scope in scoped)


def bound_scheduler(component: Component, process: ForwardProcess, prediction: PredictionType) -> Scheduler:
    """A scheduler for the model's forward process and prediction type. Raises `ConfigError` where it is for others,
    `PluginError` where it raises anything else or gives no scheduler."""
    label = component.label("scheduler")
    bound: Scheduler = call_component(label, component.object.bind, process, prediction)
    if not offers(bound, Scheduler):
        raise PluginError(f"{label}: bind() returned {type(bound).__name__} instead of a scheduler with plan()")
    return bound


def _bound(force: Component, space: ConditionSpace) -> Any:
    """A force, which is bound to the model's classes where it wants to know them."""
    if not offers(force.object, Binds):
        return force.object
    return call_component(force.label("force"), force.object.bind, space)
