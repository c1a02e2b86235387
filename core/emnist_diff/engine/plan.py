"""What a run will do, known before it starts: conditions per step, network rows, micro-batches, bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

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


@attrs.frozen
class Labels(Sequence[int]):
    """The own class of each sample of a run, or of some of them, of whom no list is kept.

    turn: class indices, in turn those of the samples 0, 1, 2, … of the run.  ids: the samples', evenly spaced.
    """

    turn: tuple[int, ...]
    ids: range

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, item: Any) -> Any:
        """The class of one, or those of a slice of them."""
        ids = self.ids[item]
        return Labels(self.turn, ids) if isinstance(ids, range) else self.turn[ids % len(self.turn)]


def make_plan(
    evaluations: Evaluations,
    spaces: Mapping[str, ConditionSpace],
    labels: Labels,
    batch_size: int,
    micro_batch: int | None = None,
    nominal: int = NOMINAL_BATCH,
) -> Plan:
    """Plan a run over samples with these own classes, in time that does not grow with their number.

    batch_size: samples walked together, at least 1.  micro_batch: rows of a network call; None chooses it so that
    `nominal` samples split into equal calls of at most `ROWS_PER_CALL` rows.
    """

    def rows_of(conds: tuple[Cond, ...], batch: Labels) -> list[tuple[tuple[str, str], int]]:
        groups = pack(conds, batch, spaces, batch.ids).groups
        return [((group.denoiser, group.variant), len(group.sample)) for group in groups]

    networks: dict[tuple[str, str], Counter[int]] = {}
    whole = (len(labels) - 1) // batch_size  # batches before the last one, which may be smaller
    by_id = any(cond.kind == "each" for conds in evaluations.counts for cond in conds)  # for as many as it names
    cycle = len(labels.turn) // math.gcd(len(labels.turn), labels.ids.step * batch_size)  # then their classes recur
    kinds = whole if by_id else min(whole, cycle)
    times = {number: len(range(number, whole, kinds)) for number in range(kinds)} | ({whole: 1} if labels else {})
    for number, repeats in times.items():
        for conds, count in evaluations.counts.items():
            for network, size in rows_of(conds, labels[number * batch_size : (number + 1) * batch_size]):
                networks.setdefault(network, Counter())[size] += count * repeats
    largest = max(size for conds in evaluations.counts for _, size in rows_of(conds, labels[:nominal]))
    rows = evenly(largest, ROWS_PER_CALL) if micro_batch is None else micro_batch
    return Plan(evaluations, batch_size, networks, largest, rows)


def evenly(rows: int, most: int) -> int:
    """The rows of a call, when `rows` of them are split into as few equal calls of at most `most` as can be."""
    return math.ceil(rows / math.ceil(rows / most))
