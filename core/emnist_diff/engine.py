"""The loop: walks a batch of samples down the trajectory. Pure: no I/O, no clock, no global state.

A step is one packed evaluation of the denoiser, a sum, a move::

    prediction = base(predictions) + Σ weight_k(step) · force_k(predictions, step)
    x_{t-1}, x0 = scheduler.step(prediction, x_t)
    x_{t-1}     = drifts(x_{t-1})

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


def walk(engine: Engine, batch: Batch, wants: Wants) -> Iterator[Frame | BatchResult]:
    """Yield a `Frame` for each step that somebody wants something of, then the `BatchResult`.

    Raises `RunFailed` naming component, step and samples when one raises or returns a wrong shape or a
    non-finite value.
    """
    spaces = {name: d.conditions for name, d in engine.denoisers.items()}
    packings: dict[tuple[Cond, ...], Packing] = {}
    labels = torch.tensor(batch.labels, dtype=torch.int64, device=engine.device)
    x = _noise(engine, batch, INITIAL, "init")
    for index in range(len(engine.timeline)):
        at = engine.timeline.at(index)
        conds = wanted(engine.base, engine.terms, at)
        if conds not in packings:
            packings[conds] = pack(conds, batch.labels, spaces, batch.sample_ids)
        step = Step(at, x, labels, batch.sample_ids)
        fields = wants(at)
        with torch.inference_mode():
            x, frame = _advance(engine, batch, step, packings[conds], fields)
        if fields:
            yield frame
    with torch.inference_mode():
        images = engine.denoisers[""].decode(x)
    yield BatchResult(batch.positions, x, images)


def _advance(
    engine: Engine, batch: Batch, step: Step, packing: Packing, fields: frozenset[Field]
) -> tuple[Tensor, Frame]:
    """One step of one batch: the next state, and what it leaves to be recorded."""
    x, at = step.x, step.at

    def scoped(scope: str) -> NoiseSource:
        """The noise of one component: its streams are its own, whatever it calls them."""
        return lambda stream="": _noise(engine, batch, at.index, f"{scope}/{stream}")

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
        step.noise = scoped(term.stream)
        contribution = _guard(what, step, term.force, predictions, step)
        _check_tensor(contribution, what, step)
        contribution = weight * contribution
        _check(contribution, x, what, step)  # before the bound, which would make an infinity finite
        contribution = term.clip(contribution)
        score = score + contribution
        contributions.append(contribution)
    step.score = score

    moved = _guard("the scheduler", step, engine.scheduler.step, score, x, at, scoped("scheduler"))
    _check(moved.x_prev, x, "the scheduler", step)
    after, deltas = moved.x_prev, []
    for item in engine.drifts:
        step.noise = scoped(item.stream)
        what = f"drift {item.name!r}"
        before, weight = after, _guard(what, step, item.weight, at)
        if weight != 0:
            after = _guard(what, step, item.drift, after, step)
            _check(after, x, what, step)
            if weight != 1:
                after = before + weight * (after - before)
                _check(after, x, what, step)
        if Field.DRIFT in fields:
            deltas.append(after - before)

    return after, Frame(
        at,
        batch.positions,
        x=x if Field.X in fields else None,
        x0=moved.x0 if Field.X0 in fields else None,
        prediction=score if Field.PREDICTION in fields else None,
        base=base if Field.BASE in fields else None,
        forces=tuple(contributions) if Field.FORCES in fields else (),
        drifts=tuple(deltas),
    )


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


def _noise(engine: Engine, batch: Batch, step: int, stream: str) -> Tensor:
    return batch_normal(batch.seeds, batch.sample_ids, step, stream, engine.shape).to(engine.device)


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
