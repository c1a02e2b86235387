"""What a run will do, known before it starts: conditions per step, network rows, micro-batches, bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from emnist_diff.brief import briefly
from emnist_diff.conditions import Cond, pack
from emnist_diff.engine.base import Base, Clip
from emnist_diff.engine.checks import blamed_on
from emnist_diff.errors import RunFailed
from emnist_diff.protocols import Differentiates, Drift, Evaluates, Force, offers
from emnist_diff.schedules import Constant
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import StepInfo, Timeline

ROWS_PER_CALL = 32
"""Rows of one network call at most, unless a configuration says otherwise: on a CPU, several middling calls are
faster than one huge one, and beyond this many rows nothing is gained."""

NOMINAL_BATCH, NOMINAL_BATCH_GPU = 16, 256
"""Samples that are walked together where a configuration does not say, on a CPU and on other devices, which want more
to do at once. The rows of a call are chosen for as many, not for those of the configured batch, which must change no
result."""


@attrs.frozen
class WeightedForce:
    """One force of a run.

    name: of the force, and in records.  weight: what its contribution is multiplied by, at a step.
    stream: the scope of its noise and of its memory.  clip: a bound on its weighted contribution.
    label: how messages call it.  differentiates: whether it asks for gradients through the network.
    """

    name: str
    force: Force
    weight: Callable[[StepInfo], float]
    stream: str = "force"
    clip: Clip = Clip()
    label: str = attrs.Factory(lambda self: f"force {self.name!r}", takes_self=True)
    differentiates: bool = attrs.field(init=False)

    @differentiates.default
    def _as_the_force_says(self) -> bool:
        return offers(self.force, Differentiates) and bool(self.force.gradient)


@attrs.frozen
class WeightedDrift:
    """One drift of a run.

    name: of the drift, and in records.  stream: the scope of its noise and of its memory.
    weight: the share of its change that is applied at a step; at 0 the drift is not called.
    label: how messages call it.  evaluates: the drift, where it says how often it evaluates the network.
    """

    name: str
    drift: Drift
    stream: str = "drift"
    weight: Callable[[StepInfo], float] = Constant(1.0)
    label: str = attrs.Factory(lambda self: f"drift {self.name!r}", takes_self=True)
    evaluates: Evaluates | None = attrs.field(init=False)

    @evaluates.default
    def _as_the_drift_says(self) -> Evaluates | None:
        return self.drift if offers(self.drift, Evaluates) else None

    def evaluations(self, at: StepInfo, end: StepInfo | None) -> int:
        """How often the drift may evaluate the network where step `at` ends, which is `end`, None for the image.

        Raises `RunFailed` where weight or `evaluations` raises, or the latter returns no count.
        """
        with blamed_on(self.label, at):
            if end is None or self.evaluates is None or self.weight(at) == 0:
                return 0
            count = self.evaluates.evaluations(at)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise RunFailed(f"{self.label}: evaluations() returned {count!r}, no count (step {at.index})")
        return count


def streams(kind: str, names: Sequence[str]) -> list[str]:
    """The noise scope of each component: ``drift.default``, and ``drift.default.1`` for a second of that name.
    Position plays no part, so that adding a component shifts no other's noise."""
    earlier = [names[:number].count(name) for number, name in enumerate(names)]
    return [f"{kind}.{name}" + (f".{count}" if count else "") for name, count in zip(names, earlier, strict=True)]


def conditions_at(at: StepInfo, base: Base, forces: Iterable[WeightedForce]) -> tuple[Cond, ...]:
    """The conditions that a step reads, without repetition. A force of weight zero reads none.

    Raises `RunFailed` naming a force whose weight or `conditions` raises, or that reads what is not a condition.
    """
    conds = list(base.conditions())
    for force in forces:
        with blamed_on(force.label, at):
            read = tuple(force.force.conditions(at)) if force.weight(at) != 0 else ()
        for odd in read:
            if not isinstance(odd, Cond):
                raise RunFailed(f"{force.label}: conditions() gave {odd!r}, which is no Cond (step {at.index})")
        conds.extend(read)
    return tuple(dict.fromkeys(conds))


@attrs.frozen
class Evaluations:
    """What the steps of a run evaluate, whatever its samples.

    conditions: of each step, at its first evaluation.
    counts: of each set of conditions, how often it is evaluated: at the stages of steps, and where drifts evaluate
    their ends.
    """

    conditions: tuple[tuple[Cond, ...], ...]
    counts: Mapping[tuple[Cond, ...], int]

    @classmethod
    def of(
        cls,
        timeline: Timeline,
        base: Base,
        forces: Sequence[WeightedForce] = (),
        drifts: Sequence[WeightedDrift] = (),
    ) -> Evaluations:
        """The evaluations of these steps. Raises as `conditions_at` and `WeightedDrift.evaluations`."""
        conditions = []
        counts: Counter[tuple[Cond, ...]] = Counter()
        for i in range(len(timeline)):
            at, end = timeline.at(i), timeline.end(i)
            read = [conditions_at(stage, base, forces) for stage in timeline.stages(i)]
            counts.update(read)
            if (count := sum(drift.evaluations(at, end) for drift in drifts)) and end is not None:
                counts[conditions_at(end, base, forces)] += count
            conditions.append(read[0])
        return cls(tuple(conditions), counts)


@briefly
@attrs.frozen
class Plan:
    """The work ahead.

    evaluations: of the steps.  batch_size: samples walked together.
    networks: for each (denoiser, variant), rows that it is asked for at once → how often.
    largest: of those for a nominal batch.  micro_batch: rows of every network call, constant in the run.
    """

    evaluations: Evaluations
    batch_size: int
    networks: Mapping[tuple[str, str], Mapping[int, int]]
    largest: int
    micro_batch: int

    @property
    def rows(self) -> int:
        """Network rows in all, padding not counted."""
        return sum(size * count for sizes in self.networks.values() for size, count in sizes.items())


def make_plan(
    evaluations: Evaluations,
    spaces: Mapping[str, ConditionSpace],
    labels: Sequence[int],
    batch_size: int,
    micro_batch: int | None = None,
    sample_ids: Sequence[int] | None = None,
    nominal: int = NOMINAL_BATCH,
) -> Plan:
    """Plan a run over samples with these own class indices, and ids (0 … N-1 when left out).

    batch_size: samples walked together, at least 1.  micro_batch: rows of a network call; None chooses it so that
    `nominal` samples split into equal calls of at most `ROWS_PER_CALL` rows.
    """
    ids = range(len(labels)) if sample_ids is None else sample_ids

    def rows_of(conds: tuple[Cond, ...], batch: slice) -> list[tuple[tuple[str, str], int]]:
        groups = pack(conds, labels[batch], spaces, ids[batch]).groups
        return [((group.denoiser, group.variant), len(group.sample)) for group in groups]

    networks: dict[tuple[str, str], Counter[int]] = {}
    for start in range(0, len(labels), batch_size):
        for conds, count in evaluations.counts.items():
            for network, size in rows_of(conds, slice(start, start + batch_size)):
                networks.setdefault(network, Counter())[size] += count
    largest = max(size for conds in evaluations.counts for _, size in rows_of(conds, slice(nominal)))
    rows = evenly(largest, ROWS_PER_CALL) if micro_batch is None else micro_batch
    return Plan(evaluations, batch_size, networks, largest, rows)


def evenly(rows: int, most: int) -> int:
    """The rows of a call, when `rows` of them are split into as few equal calls of at most `most` as can be."""
    return math.ceil(rows / math.ceil(rows / most))
