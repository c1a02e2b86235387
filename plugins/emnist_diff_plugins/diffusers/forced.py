"""Base and forces over predictions that somebody else has the network make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.assembly.layout import Layout, lay_out
from emnist_diff.components import call_component, make
from emnist_diff.conditions import NULL, OWN, Cond, Group, Packing, named
from emnist_diff.config import RunConfig
from emnist_diff.discovery import installed
from emnist_diff.engine.base import BaseKind
from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.evaluation import Evaluation, evaluate
from emnist_diff.engine.memory import Memory
from emnist_diff.engine.plan import conditions_at
from emnist_diff.engine.state import Batch
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Binds, Differentiates, HoldsImages, offers
from emnist_diff.records import ForceSpec
from emnist_diff.timeline import PredictionType, StepInfo, Timeline
from emnist_diff_plugins.diffusers.levels import Levels
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_plugins.spaces import TextSpace

_PROMPT = "prompt"
"""What stands for the samples' own condition where a name is wanted."""
_USUAL = 20
"""Steps of a usual walk."""


@attrs.frozen(eq=False)
class ForceSettings:
    """settings: of base and forces, as of a run.  labels: what messages call the forces, in order."""

    settings: RunConfig
    labels: tuple[str, ...]

    @classmethod
    def of(cls, forces: Sequence[Any], base: BaseKind, guidance_scale: float, seed: int) -> ForceSettings:
        """Raises as `config.resolve` and `components.make`, and `ConfigError` for a force that needs more than
        predictions and states."""
        tables = [force if isinstance(force, str) else dict(force) for force in forces]
        layer = {"forces": tables, "base": base, "guidance_scale": guidance_scale, "seed": seed}
        layer |= {"character": [_PROMPT], "total_videos": 1}
        settings, registry, labels = resolve(layer), installed(), []
        for config in settings.forces:
            component = make(registry, ForceSpec, config)
            labels.append(component.label("force"))
            if offers(component.object, HoldsImages):
                raise ConfigError(f"{labels[-1]} holds images, which a guider cannot encode — use emnist-diff run")
            _require_plain(labels[-1], component.object)
            _require_conditions(labels[-1], component.object)
        return cls(settings, tuple(labels))

    @property
    def reads_null(self) -> bool:
        """Whether a step may read the null condition: any force may, whose directions begin there."""
        plain = self.settings.base == "cond" or (self.settings.base == "cfg" and self.settings.guidance_scale == 1)
        return bool(self.settings.forces) or not plain


def _require_plain(label: str, force: Any) -> None:
    """Raise `ConfigError` for a force that differentiates the network."""
    if offers(force, Differentiates) and force.gradient:
        raise ConfigError(f"{label} differentiates the network, which a guider is never given — use emnist-diff run")


@attrs.frozen(eq=False)
class _Walk:
    """A scheduler whose timeline is known."""

    timeline: Timeline

    def plan(self, steps: int) -> Timeline:
        return self.timeline


@attrs.frozen(eq=False)
class _Network:
    """What the engine has to know of a network that others call."""

    shape: tuple[int, ...]
    conditions: TextSpace
    prediction_type: PredictionType


@attrs.frozen(eq=False)
class _Answers:
    """In place of calls of the network: what it answered, by condition."""

    packing: Packing
    outputs: list[Tensor]

    def __call__(self, x: Tensor, at: StepInfo) -> list[Tensor]:
        return self.outputs


@attrs.define(eq=False)
class Forced:
    """Base and forces laid out for a call of a pipeline.

    memory: what forces remember, by ``scope/name``.
    """

    layout: Layout
    prediction_type: PredictionType
    seed: int
    memory: Mapping[str, Tensor] = attrs.field(factory=dict)
    _run: BatchEngine | None = attrs.field(init=False, default=None)

    @classmethod
    def of(cls, force: ForceSettings, scheduler: Any, timestep: Any, steps: int) -> Forced:
        """timestep: at which the call begins, one of the scheduler's.  steps: how many it takes.

        Raises `ConfigError` for a scheduler of an unknown kind or that evaluates twice a step, and for a force that
        reads what a guider cannot give; the errors of `layout.lay_out` besides.
        """
        levels = Levels.of(scheduler)
        timeline = _timeline(levels, float(timestep), steps)
        settings = attrs.evolve(force.settings, steps=len(timeline))
        walk: Any = _Walk(timeline)  # of which no more than the plan is read
        layout = lay_out(installed(), settings, {"": TextSpace()}, walk, "the scheduler")
        for term in layout.terms:
            _require_plain(term.label, term.force)
            for at in map(timeline.at, range(len(timeline))):
                for cond in conditions_at(at, layout.base, (term,)):
                    _require_known(term.label, cond)
        return cls(layout, levels.prediction_type, settings.seed)

    def conditions(self, step: int) -> tuple[Cond, ...]:
        """What a step reads; the prompt, where it reads nothing."""
        return conditions_at(self.layout.timeline.at(step), self.layout.base, self.layout.terms) or (OWN,)

    def weights(self, step: int) -> tuple[tuple[str, float], ...]:
        """Name and weight of each force at a step, in order."""
        at = self.layout.timeline.at(step)
        return tuple((term.name, term.weight(at)) for term in self.layout.terms)

    def texts(self) -> tuple[str, ...]:
        """The texts that some step reads beside the prompt and the negative prompt."""
        read = (cond for step in range(len(self.layout.timeline)) for cond in self.conditions(step))
        return tuple(dict.fromkeys(text for cond in read for text in texts_of(cond)))

    def evaluate(self, step: int, x: Tensor, answers: Mapping[Cond, Tensor]) -> Evaluation:
        """Base and forces at the states x (B, *shape) from the network's predictions. Raises `RunFailed` where a force
        misbehaves."""
        if self._run is None or len(self._run.batch.labels) != len(x):
            self._run = self._batch(x)
        rows = torch.arange(len(x), device=x.device)
        groups = tuple(Group("", "", rows, rows) for _ in answers)
        packing = Packing(groups, {cond: (number, rows) for number, cond in enumerate(answers)})
        calls: Any = _Answers(packing, list(answers.values()))
        self._run.packed[tuple(answers), False] = calls
        memory = Memory(self.memory, len(x))
        out = evaluate(self._run, self.layout.timeline.at(step), x, memory)
        self.memory = memory.left
        self._run.packed.clear()
        return out

    def _batch(self, x: Tensor) -> BatchEngine:
        space: Any = self.layout.spaces[""]
        network: Any = _Network(tuple(x.shape[1:]), space, self.prediction_type)
        count = len(x)
        ids = tuple(range(count))
        return BatchEngine.of(
            self.layout.engine({"": network}, x.device), Batch(ids, ids, (0,) * count, (self.seed,) * count)
        )


def texts_of(cond: Cond) -> tuple[str, ...]:
    """The texts that a condition is of, prompt and negative prompt left out."""
    names = cond.values if cond.kind == "each" else (cond.value,) if cond.kind == "class" else ()
    return tuple(name for name in names if named(name) not in (OWN, NULL))


def _require_conditions(label: str, force: Any) -> None:
    """Raise `ConfigError` for a force that reads what a guider cannot give at some step of a usual walk, so that it is
    refused where it is configured. What only a longer walk reads is refused when that begins."""
    bound = call_component(label, force.bind, TextSpace()) if offers(force, Binds) else force
    for index in range(_USUAL):
        level = (index + 0.5) / _USUAL
        at = StepInfo(index, _USUAL, 1000.0 * (1.0 - level), level, min(1.0, level + 1.0 / _USUAL))
        for cond in call_component(label, bound.conditions, at):
            _require_known(label, cond)


def _require_known(label: str, cond: Cond) -> None:
    """Raise `ConfigError` for a condition that a guider cannot have the network evaluate."""
    for value, what in (
        (cond.denoiser, "the guide"),
        (cond.variant, "the variant"),
        (dict(cond.inputs), "the numbers"),
    ):
        if value:
            raise ConfigError(f"{label} reads {what} {value!r}, which a guider cannot give — use emnist-diff run")


def require_single(levels: Levels) -> None:
    """Raise `ConfigError` for a scheduler that evaluates twice a step."""
    name = type(levels.scheduler).__name__
    if getattr(levels.scheduler, "order", 1) > 1 or "PNDM" in name:
        raise ConfigError(f"ForceGuider: {name} evaluates twice a step — use a scheduler that does so once")


def _timeline(levels: Levels, timestep: float, steps: int) -> Timeline:
    """The steps of a call from the scheduler's own grid."""
    require_single(levels)
    scheduler = levels.scheduler
    grid = [float(t) for t in scheduler.timesteps]
    first = grid.index(timestep) if timestep in grid else 0
    begun = getattr(scheduler, "begin_index", None)
    first = begun if begun is not None else first
    points = levels.grid()[first : first + steps + 1]
    points += [1.0] * (steps + 1 - len(points))
    return Timeline(
        timestep=np.array([*grid[first:], *[grid[-1]] * steps][:steps]),
        alpha_bar=np.array(points[:-1]),
        alpha_bar_next=np.array(points[1:]),
        process=levels.process,
    )
