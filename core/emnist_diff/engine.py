"""The loop: walks a batch of samples down the trajectory. Pure: no I/O, no clock, no global state.

A step is one packed evaluation of the denoiser, a sum, a move::

    prediction = base(predictions) + Σ weight_k(step) · force_k(predictions, step)
    x_{t-1}, x0 = scheduler.step(prediction, x_t)
    x_{t-1}     = drifts(x_{t-1})

A scheduler that looks more than once has base and forces evaluated at every look. The ledger that is recorded is that
of the first.

The ledger is exact in the arithmetic of the state: adding the contributions to the base in order gives the
prediction, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.base import Base
from emnist_diff.conditions import Cond, Group, Packing, Predictions, RowConditions, pack
from emnist_diff.errors import EmnistDiffError, RunFailed
from emnist_diff.noise import INITIAL, batch_normal
from emnist_diff.plan import StateMap, Term, wanted
from emnist_diff.protocols import (
    BatchResult,
    Denoiser,
    Field,
    Frame,
    NoiseSource,
    Scheduler,
    Step,
    StepInfo,
    Timeline,
)

Wants = Callable[[StepInfo], frozenset[Field]]


@attrs.frozen(eq=False)
class Engine:
    """All that a walk needs beside the samples.

    denoisers: by name; ``""`` is the main one, which gives the state its shape and decodes it.
    micro_batch: rows of every network call. A row's last bits depend on the row count of its call and not on its
    neighbours, so a constant count makes trajectories independent of how samples are batched.
    """

    denoisers: Mapping[str, Denoiser]
    scheduler: Scheduler
    timeline: Timeline
    base: Base
    terms: Sequence[Term] = ()
    drifts: Sequence[StateMap] = ()
    micro_batch: int = 32
    device: torch.device = attrs.field(factory=lambda: torch.device("cpu"))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one state."""
        return self.denoisers[""].shape


@attrs.frozen
class Batch:
    """Samples walked together: positions in the run, ids, own class indices, and the seed of each."""

    positions: tuple[int, ...]
    sample_ids: tuple[int, ...]
    labels: tuple[int, ...]
    seeds: tuple[int, ...]


@attrs.frozen(eq=False)
class Halfway:
    """A walk between two steps: all that the rest of it depends on.

    index: of the next step.  x: the state, (B, *shape).  memory: what the scheduler remembers.
    """

    index: int
    x: Tensor
    memory: Mapping[str, Tensor]


def walk(
    engine: Engine,
    batch: Batch,
    wants: Wants,
    start: Halfway | None = None,
    after_step: Callable[[Halfway], None] | None = None,
) -> Iterator[Frame | BatchResult]:
    """Yield a `Frame` for each step that somebody wants something of, then the `BatchResult`.

    start: where an earlier walk of the same batch stopped; what follows is what followed there, bit for bit.
    after_step: told of each such place.

    Raises `RunFailed` naming component, step and samples when one raises or returns a wrong shape or a
    non-finite value.
    """
    at_work = _Walk(engine, batch, torch.tensor(batch.labels, dtype=torch.int64, device=engine.device))
    here = start or Halfway(0, at_work.noise(INITIAL, "init"), {})
    while here.index < len(engine.timeline):
        fields = wants(engine.timeline.at(here.index))
        with torch.inference_mode():
            here, frame = at_work.advance(here, fields)
        if after_step is not None:
            after_step(here)
        if fields:
            yield frame
    with torch.inference_mode():
        images = engine.denoisers[""].decode(here.x)
    yield BatchResult(batch.positions, here.x, images)


@attrs.define(eq=False)
class _Walk:
    """One batch on its way: engine, samples, and the packings of conditions met so far."""

    engine: Engine
    batch: Batch
    labels: Tensor
    packings: dict[tuple[Cond, ...], Packing] = attrs.field(factory=dict)

    def advance(self, here: Halfway, fields: frozenset[Field]) -> tuple[Halfway, Frame]:
        """One step: where it leads, and what it leaves to be recorded."""
        engine, looks, x = self.engine, self.engine.timeline.looks(here.index), here.x

        def stepping(at: StepInfo, x: Tensor) -> Step:
            return Step(at, x, self.labels, self.batch.sample_ids, timeline=engine.timeline)

        def look(x: Tensor, number: int) -> Tensor:
            inner = stepping(looks[1 + number], x)
            _check(x, here.x, "the scheduler", inner)
            return self.predict(inner, f"@{number + 1}")[0]

        step = stepping(looks[0], x)
        score, contributions = self.predict(step)
        step.memory, step.look = here.memory, look
        step.noise = self.scoped("scheduler", step)
        moved = _guard("the scheduler", step, engine.scheduler.step, score, step)
        _check(moved.x_prev, x, "the scheduler", step)
        after, deltas = self.drifted(moved.x_prev, step, Field.DRIFT in fields)
        return Halfway(here.index + 1, after, moved.memory), Frame(
            step.at,
            self.batch.positions,
            x=x if Field.X in fields else None,
            x0=moved.x0 if Field.X0 in fields else None,
            prediction=score if Field.PREDICTION in fields else None,
            base=step.base if Field.BASE in fields else None,
            forces=tuple(contributions) if Field.FORCES in fields else (),
            drifts=tuple(deltas),
        )

    def predict(self, step: Step, suffix: str = "") -> tuple[Tensor, list[Tensor]]:
        """The prediction at a step's state and level, and each force's part of it; `step` learns base and score.

        suffix: sets the noise of a second look apart from that of the first.
        """
        engine, at, x = self.engine, step.at, step.x
        conds = wanted(engine.base, engine.terms, at)
        if conds not in self.packings:
            spaces = {name: d.conditions for name, d in engine.denoisers.items()}
            self.packings[conds] = pack(conds, self.batch.labels, spaces, self.batch.sample_ids)
        packing = self.packings[conds]
        outputs = [_guard("the denoiser", step, _evaluate, engine, x, at.timestep, g) for g in packing.groups]
        predictions = Predictions(packing, outputs)
        base = engine.base(predictions)
        _check(base, x, "the denoiser", step)
        step.base = base

        score, contributions = base, []
        for term in engine.terms:
            what = f"force {term.name!r}"
            weight = _guard(what, step, term.weight, at)
            if weight == 0:
                contributions.append(torch.zeros_like(x))
                continue
            step.score = score
            step.noise = self.scoped(term.stream + suffix, step)
            contribution = _guard(what, step, term.force, predictions, step)
            _check_tensor(contribution, what, step)
            contribution = weight * contribution
            _check(contribution, x, what, step)  # before the bound, which would make an infinity finite
            contribution = term.clip(contribution)
            score = score + contribution
            contributions.append(contribution)
        step.score = score
        return score, contributions

    def drifted(self, x: Tensor, step: Step, keep: bool) -> tuple[Tensor, list[Tensor]]:
        """The state after all drifts, and what each changed, if that is to be kept."""
        after, deltas = x, []
        for item in self.engine.drifts:
            step.noise = self.scoped(item.stream, step)
            what = f"drift {item.name!r}"
            before, weight = after, _guard(what, step, item.weight, step.at)
            if weight != 0:
                after = _guard(what, step, item.drift, after, step)
                _check(after, x, what, step)
                if weight != 1:
                    after = before + weight * (after - before)
                    _check(after, x, what, step)
            if keep:
                deltas.append(after - before)
        return after, deltas

    def scoped(self, scope: str, step: Step) -> NoiseSource:
        """The noise of one component: its streams are its own, whatever it calls them."""
        return lambda stream="": self.noise(step.at.index, f"{scope}/{stream}")

    def noise(self, step: int, stream: str) -> Tensor:
        batch, engine = self.batch, self.engine
        return batch_normal(batch.seeds, batch.sample_ids, step, stream, engine.shape).to(engine.device)


def _evaluate(engine: Engine, x: Tensor, timestep: float, group: Group) -> Tensor:
    """The rows of one network, (R, *shape), in calls of exactly `micro_batch` rows; the last is padded."""
    denoiser, size = engine.denoisers[group.denoiser], engine.micro_batch
    rows = len(group.sample)
    padding = torch.full((-rows % size,), rows - 1, dtype=torch.int64)
    order = torch.cat((torch.arange(rows), padding))
    inputs = x.index_select(0, group.sample[order].to(x.device))
    index = group.index[order].to(x.device)
    t = torch.full((size,), timestep, dtype=torch.float32, device=x.device)
    calls = [
        denoiser.predict(inputs[i : i + size], t, RowConditions(index[i : i + size], group.variant))
        for i in range(0, len(order), size)
    ]
    return torch.cat(calls)[:rows]


def _guard(what: str, step: Step, call, *args):  # type: ignore[no-untyped-def]  # passes any component through
    """Call a component; what it raises becomes a `RunFailed` that names it."""
    try:
        return call(*args)
    except EmnistDiffError:
        raise
    except Exception as error:
        raise RunFailed(f"{what} raised {type(error).__name__}: {error} (step {step.at.index})") from error


def _check_tensor(value: object, what: str, step: Step) -> None:
    if not isinstance(value, Tensor):
        raise RunFailed(f"{what} returned {type(value).__name__} instead of a tensor (step {step.at.index})")


def _check(value: Tensor, like: Tensor, what: str, step: Step) -> None:
    """A wrong trajectory is worse than none: shapes and finiteness are checked at every step."""
    _check_tensor(value, what, step)
    if value.shape != like.shape:
        raise RunFailed(
            f"{what} returned shape {tuple(value.shape)} instead of {tuple(like.shape)} (step {step.at.index})"
        )
    finite = torch.isfinite(value)
    if not bool(finite.all()):
        bad = (~finite).flatten(1).any(1).nonzero().flatten().tolist()
        ids = ", ".join(str(step.sample_ids[b]) for b in bad[:8])
        raise RunFailed(
            f"{what} returned non-finite values (step {step.at.index}, sample {ids}) — "
            "lower its weight or the guidance scale"
        )
