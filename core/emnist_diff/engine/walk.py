"""The loop: walks a batch of samples down the trajectory. Pure: no I/O, no clock, no global state.

A step is one packed evaluation of the denoiser, a sum, a move::

    prediction = base(predictions) + Σ weight_k(step) · force_k(predictions, step)
    x_{t-1}, x0 = scheduler.step(prediction, x_t)
    x_{t-1}     = drifts(x_{t-1})

A scheduler that evaluates more than once has base and forces evaluated at every stage, and so has a drift that
evaluates. The ledger that is recorded is that of the first.

All of it runs in torch's inference mode. Where a force asks for gradients, the network is evaluated with them at the
steps where the force has a weight, and that force alone acts outside of inference mode.

The ledger is exact in the arithmetic of the state: adding the contributions to the base in order gives the
prediction, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
import torch
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.conditions import Cond, Group, Packing, Predictions, RowConditions, pack
from emnist_diff.engine.base import Base
from emnist_diff.engine.capture import capture, captured_fields
from emnist_diff.engine.decoding import decoded
from emnist_diff.engine.direct import Direct, rows_of
from emnist_diff.engine.finite import FiniteWatch
from emnist_diff.engine.gradients import Tape, autograd_enabled
from emnist_diff.engine.memory import Memory
from emnist_diff.engine.noise import INITIAL, Normal, batch_normal
from emnist_diff.engine.onethread import one_thread
from emnist_diff.engine.plan import WeightedDrift, WeightedForce, evaluations_of, wanted
from emnist_diff.errors import EmnistDiffError, RunFailed
from emnist_diff.frames import BatchResult, Frame, is_requested, run_fields
from emnist_diff.parameterization import convert
from emnist_diff.protocols import Denoiser, Evaluator, Scheduler
from emnist_diff.shortage import told_of
from emnist_diff.steps import NoiseSource, SchedulerResult, Step, no_look
from emnist_diff.timeline import StepInfo, Timeline

INITIAL_STREAM = "init"
"""The stream of noise that starting states are drawn from."""


@briefly
@attrs.frozen(eq=False)
class Engine:
    """All that a walk needs beside the samples.

    denoisers: by name; ``""`` is the main one, which gives the state its shape and decodes it.
    evaluators: the same denoisers on a backend, made for `micro_batch` rows; those left out are asked directly.
    micro_batch: rows of a network call at most. An evaluator computes as many at a time, or an equal part of them, and
    its last call is filled up. A row's last bits depend on the row count of its call and not on its neighbours, so a
    constant count makes trajectories independent of how samples are batched.
    normal: what draws noise; `noise.batch_normal`, or the same by another way.
    """

    denoisers: Mapping[str, Denoiser]
    scheduler: Scheduler
    timeline: Timeline
    base: Base
    terms: Sequence[WeightedForce] = ()
    drifts: Sequence[WeightedDrift] = ()
    micro_batch: int = 32
    device: torch.device = attrs.field(factory=lambda: torch.device("cpu"))
    evaluators: Mapping[str, Evaluator] = attrs.field(factory=dict)
    normal: Normal = batch_normal

    def evaluator(self, name: str) -> Evaluator:
        """What evaluates the denoiser of that name."""
        return self.evaluators.get(name) or Direct(self.denoisers[name], self.micro_batch)

    def differentiable(self, name: str) -> Evaluator:
        """The same without a backend, for few of them can be differentiated, on one thread of a CPU."""
        return Direct.of(self.denoisers[name], self.micro_batch, self.device, threads=1)

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
class WalkState:
    """A walk between two steps: all that the rest of it depends on.

    index: of the next step.  x: the state, (B, *shape).
    memory: what the components remember, by ``scope/name``: the scheduler's scope is ``scheduler``, that of a force or
    drift the one of its noise.
    """

    index: int
    x: Tensor
    memory: Mapping[str, Tensor]


def walk(
    engine: Engine,
    batch: Batch,
    wants: Callable[[StepInfo], frozenset[str]],
    start: WalkState | None = None,
    after_step: Callable[[WalkState], None] | None = None,
) -> Iterator[Frame | BatchResult]:
    """Yield a `Frame` for each step, then the `BatchResult`.

    wants: the fields that the frame of a step shall hold, or groups of them; see `frames`.
    start: where an earlier walk of the same batch stopped; what follows is what followed there, bit for bit.
    after_step: told of each such place.

    Raises `RunFailed` naming component, step and samples when one raises or returns a wrong shape or a
    non-finite value; on a device other than a CPU the latter is told before the `BatchResult`, not at its step.
    """
    at_work = _Walk(engine, batch, torch.tensor(batch.labels, dtype=torch.int64, device=engine.device))
    here = start or WalkState(0, at_work.noise(INITIAL, INITIAL_STREAM), {})
    while here.index < len(engine.timeline):
        fields = wants(engine.timeline.at(here.index))
        try:
            with torch.inference_mode():
                here, frame = at_work.advance(here, fields)
        except RunFailed:
            at_work.finite.settle()  # what failed may have been fed what another component broke before
            raise
        if after_step is not None:
            at_work.finite.settle()
            after_step(here)
        yield frame
    at_work.finite.settle()
    yield BatchResult(batch.positions, here.x, decoded(engine.denoisers[""], here.x))


@attrs.define(eq=False)
class _Walk:
    """One batch on its way: engine, samples, and the packings of conditions met so far."""

    engine: Engine
    batch: Batch
    labels: Tensor
    packings: dict[tuple[Cond, ...], tuple[Packing, list[_Call], list[_Call]]] = attrs.field(factory=dict)
    finite: FiniteWatch = attrs.Factory(lambda walk: FiniteWatch(walk.batch.sample_ids), takes_self=True)

    def advance(self, here: WalkState, fields: frozenset[str]) -> tuple[WalkState, Frame]:
        """One step: where it leads, and what it leaves to be recorded."""
        engine, stages, x = self.engine, self.engine.timeline.stages(here.index), here.x
        memory = Memory(here.memory, len(self.batch.sample_ids))

        def evaluate(x: Tensor, number: int) -> Tensor:
            inner = self.stepping(stages[1 + number], x)
            self.check(x, here.x, "the scheduler", inner)
            return self.predict(inner, memory.closed(), f"@{number + 1}")[0]

        step = self.stepping(stages[0], x)
        score, contributions = self.predict(step, memory)
        step.evaluate = evaluate
        self.enter(step, "scheduler", memory.closed())
        moved = _guard("the scheduler", step, engine.scheduler.step, score, step)
        if not isinstance(moved, SchedulerResult):
            raise RunFailed(
                f"the scheduler returned {type(moved).__name__} instead of SchedulerResult (step {step.at.index})"
            )
        self.check(moved.x_prev, x, "the scheduler", step)
        memory.keep("scheduler", moved.memory)
        keep_deltas = any(request.partition("/")[0] == "drifts" for request in fields)
        after, deltas = self.drifted(moved.x_prev, step, memory, keep_deltas)
        names = run_fields([term.name for term in engine.terms], [item.name for item in engine.drifts])
        pairs = zip(names, (x, moved.x0, score, step.base, *contributions, *deltas), strict=False)
        tensors = {name: tensor for name, tensor in pairs if tensor is not None and is_requested(name, fields)}
        conds: tuple[Cond, ...] = ()
        if requested := captured_fields(engine.denoisers[""], fields):
            packing = self.packings[wanted(engine.base, engine.terms, step.at)][0]
            given = engine.denoisers[""], packing, x, step.at.timestep, requested, engine.micro_batch
            conds, activations = _guard("the denoiser", step, capture, *given)
            tensors |= activations
        return WalkState(here.index + 1, after, memory.left), Frame(step.at, self.batch.positions, tensors, conds)

    def stepping(self, at: StepInfo, x: Tensor) -> Step:
        """A step at this level and state, before anybody has acted on it."""
        kind = self.engine.denoisers[""].prediction_type
        ids, timeline = self.batch.sample_ids, self.engine.timeline
        return Step(at, x, self.labels, ids, timeline=timeline, prediction_type=kind)

    def enter(self, step: Step, scope: str, memory: Memory, suffix: str = "") -> None:
        """Give a step to the component of this scope: its noise and its memory."""
        step.noise = self.scoped(scope + suffix, step)
        step.memory, step.remember = memory.of(scope), memory.remembering(scope)

    def predict(self, step: Step, memory: Memory, suffix: str = "") -> tuple[Tensor, list[Tensor]]:
        """The prediction at a step's state and level, and each force's part of it; `step` learns base and score.

        suffix: sets the noise of a second evaluation apart from that of the first.
        """
        engine, at, x = self.engine, step.at, step.x
        conds = wanted(engine.base, engine.terms, at)
        if conds not in self.packings:
            self.packings[conds] = self.packed(conds)
        packing, calls, differentiable = self.packings[conds]
        weights = [_guard(term.label, step, term.weight, at) for term in engine.terms]
        tape: Tape | None = None
        if any(weight != 0 and term.gradient for term, weight in zip(engine.terms, weights, strict=True)):
            with one_thread(engine.device):
                tape = Tape.of(x, lambda leaf: [self.asked(call, leaf, step) for call in differentiable])
            outputs = [output.detach() for output in tape.outputs]
        else:
            outputs = [self.asked(call, x, step) for call in calls]
        predictions = Predictions(packing, outputs)
        base = engine.base(predictions)
        self.check(base, x, "the denoiser", step)
        step.base = base

        score, contributions = base, []
        for term, weight in zip(engine.terms, weights, strict=True):
            what = term.label
            if weight == 0:
                contributions.append(torch.zeros_like(x))
                continue
            step.sum = score
            self.enter(step, term.stream, memory, suffix)
            if term.gradient:
                assert tape is not None  # this force has a weight
                contribution = self.differentiated(term, packing, tape, step)
            else:
                contribution = _guard(what, step, term.force, predictions, step)
            _check_tensor(contribution, what, step)
            contribution = weight * contribution
            self.check(contribution, x, what, step)  # before the bound, which would make an infinity finite
            contribution = term.clip(contribution)
            score = score + contribution
            contributions.append(contribution)
        step.sum = score
        return score, contributions

    def asked(self, call: _Call, x: Tensor, step: Step) -> Tensor:
        """One network's rows at x (B, *shape), as the main network would predict them: (R, *shape)."""
        name, at = call.denoiser, step.at
        what = f"the denoiser {name!r}" if name else "the denoiser"
        out: Tensor = _guard(what, step, call, x, at.timestep)
        kind = self.engine.denoisers[name].prediction_type
        if kind != step.prediction_type:
            out = convert(out, x.index_select(0, call.rows[: call.count]), at.rates, kind, step.prediction_type)
        return out

    def differentiated(self, term: WeightedForce, packing: Packing, tape: Tape, step: Step) -> Tensor:
        """The contribution of a force that wants gradients, without any."""
        with autograd_enabled(), one_thread(self.engine.device):
            leaf, outputs = tape.fresh()
            predictions = Predictions(packing, outputs)
            base = self.engine.base(predictions)
            assert step.sum is not None  # set before any force acts
            score = step.sum.clone() + (base - base.detach())  # what earlier forces added is a constant here
            memory = {name: value.clone() for name, value in step.memory.items()}  # autograd takes no inference tensors
            live = attrs.evolve(step, x=leaf, base=base, sum=score, memory=memory)
            contribution = _guard(term.label, step, term.force, predictions, live)
        return contribution.detach() if isinstance(contribution, Tensor) else contribution

    def packed(self, conds: tuple[Cond, ...]) -> tuple[Packing, list[_Call], list[_Call]]:
        """The rows of these conditions, the calls that evaluate them, and those that can be differentiated, with
        everything that does not change from step to step made once."""
        engine, batch = self.engine, self.batch
        spaces = {name: d.conditions for name, d in engine.denoisers.items()}
        with torch.inference_mode(False):  # indices that autograd may keep
            packing = pack(conds, batch.labels, spaces, batch.sample_ids).to(engine.device)
            calls, differentiable = (
                [_Call.of(evaluator(group.denoiser), group, engine) for group in packing.groups]
                for evaluator in (engine.evaluator, engine.differentiable)
            )
        return packing, calls, differentiable

    def drifted(self, x: Tensor, step: Step, memory: Memory, keep: bool) -> tuple[Tensor, list[Tensor]]:
        """The state after all drifts, and what each changed, if that is to be kept."""
        after, deltas = x, []
        for item in self.engine.drifts:
            what = item.label
            before, weight = after, _guard(what, step, item.weight, step.at)
            if weight != 0:
                self.enter(step, item.stream, memory)
                step.evaluate = self.looking(item, step, memory)
                after = _guard(what, step, item.drift, after, step)
                self.check(after, x, what, step)
                if weight != 1:
                    after = before + weight * (after - before)
                    self.check(after, x, what, step)
            if keep:
                deltas.append(after - before)
        return after, deltas

    def looking(self, item: WeightedDrift, step: Step, memory: Memory) -> Callable[[Tensor], Tensor]:
        """How a drift asks for the prediction where the step ends."""
        what, at = item.label, step.at
        end = self.engine.timeline.end(at.index)
        allowed = _guard(what, step, evaluations_of, item, at, end)
        if end is None or not allowed:
            return no_look
        there = end
        used = 0

        def evaluate(x: Tensor) -> Tensor:
            nonlocal used
            used += 1
            if used > allowed:
                raise RunFailed(f"{what} looked more than the {allowed} times that it declared (step {at.index})")
            inner = self.stepping(there, x)
            self.check(x, step.x, what, inner)
            return self.predict(inner, memory.after(), f"@{item.stream}.{used}")[0]

        return evaluate

    def scoped(self, scope: str, step: Step) -> NoiseSource:
        """The noise of one component: its streams are its own, whatever it calls them."""
        return lambda stream="": self.noise(step.at.index, f"{scope}/{stream}")

    def noise(self, step: int, stream: str) -> Tensor:
        batch, engine = self.batch, self.engine
        try:
            drawn = engine.normal(batch.seeds, batch.sample_ids, step, stream, engine.shape)
            return drawn.to(engine.device, non_blocking=engine.device.type == "cuda")
        except (RuntimeError, MemoryError) as error:
            raise RunFailed(f"{told_of('drawing noise', error)} (step {step})") from error

    def check(self, value: Tensor, like: Tensor, what: str, step: Step) -> None:
        """A wrong trajectory is worse than none: shapes and finiteness are checked at every step."""
        _check_tensor(value, what, step)
        if value.shape != like.shape:
            raise RunFailed(
                f"{what} returned shape {tuple(value.shape)} instead of {tuple(like.shape)} (step {step.at.index})"
            )
        if value.device != like.device:
            raise RunFailed(
                f"{what} returned a tensor on {value.device} instead of {like.device} (step {step.at.index}) — "
                "tensors are made with device=step.x.device"
            )
        self.finite.look(value, what, step.at.index)


@attrs.frozen(eq=False)
class _Call:
    """The rows of one network, padded to as many as its evaluator computes at a time; the last row is repeated.

    denoiser: its name.  evaluator: of the network.  rows: (R',) sample positions.  conds: their conditions.
    count: R, without padding.
    """

    denoiser: str
    evaluator: Evaluator
    rows: Tensor
    conds: RowConditions
    count: int

    @classmethod
    def of(cls, evaluator: Evaluator, group: Group, engine: Engine) -> _Call:
        count, rows = len(group.sample), rows_of(evaluator, engine.micro_batch)
        order = torch.arange(count + -count % rows, device=engine.device).clamp_(max=count - 1)
        conds = RowConditions(group.index[order], group.variant)
        return cls(group.denoiser, evaluator, group.sample[order], conds, count)

    def __call__(self, x: Tensor, timestep: float) -> Tensor:
        """(R, *shape) predictions at x (B, *shape)."""
        t = torch.full((len(self.rows),), timestep, dtype=torch.float32, device=x.device)
        return self.evaluator(x.index_select(0, self.rows), t, self.conds)[: self.count]


def _guard(what: str, step: Step, call, *args):  # type: ignore[no-untyped-def]  # passes any component through
    """Call a component; what it raises becomes a `RunFailed` that names it."""
    try:
        return call(*args)
    except EmnistDiffError:
        raise
    except Exception as error:
        raise RunFailed(f"{told_of(what, error)} (step {step.at.index})") from error


def _check_tensor(value: object, what: str, step: Step) -> None:
    if not isinstance(value, Tensor):
        raise RunFailed(f"{what} returned {type(value).__name__} instead of a tensor (step {step.at.index})")
