"""What a run will do, known before it starts: conditions per step, network rows, micro-batches, bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from emnist_diff.base import Base
from emnist_diff.clip import Clip
from emnist_diff.conditions import Cond, ConditionSpace, pack
from emnist_diff.errors import EmnistDiffError, RunFailed
from emnist_diff.protocols import Drift, Force, StepInfo, Timeline
from emnist_diff.schedules import Constant

ROWS_PER_CALL = 32
"""Rows of one network call at most, unless a configuration says otherwise: on a CPU, several middling calls are
faster than one huge one, and beyond this many rows nothing is gained."""

NOMINAL_BATCH = 16
"""Samples for which the rows of a call are chosen: not those of the configured batch, which must change no result."""


@attrs.frozen
class Term:
    """One force of a run: its name, the force, its weight at a step, the scope of its noise, and a bound on its
    weighted contribution."""

    name: str
    force: Force
    weight: Callable[[StepInfo], float]
    stream: str = "force"
    clip: Clip = Clip()


@attrs.frozen
class StateMap:
    """One drift of a run: its name, the drift, the scope of its noise, and the share of its way that is taken at a
    step; at 0 it is not asked."""

    name: str
    drift: Drift
    stream: str = "drift"
    weight: Callable[[StepInfo], float] = Constant(1.0)


def streams(kind: str, names: Sequence[str]) -> list[str]:
    """The noise scope of each component: ``drift.default``, and ``drift.default.1`` for a second of that name.
    Position plays no part, so that adding a component shifts no other's noise."""
    counts: Counter[str] = Counter()
    out = []
    for name in names:
        out.append(f"{kind}.{name}" + (f".{counts[name]}" if counts[name] else ""))
        counts[name] += 1
    return out


def wanted(base: Base, terms: Iterable[Term], at: StepInfo) -> tuple[Cond, ...]:
    """The conditions that this step reads, without repetition. A force of weight zero reads none.

    Raises `RunFailed` naming a force whose weight or `conditions` raises.
    """
    conds = list(base.conditions())
    for term in terms:
        try:
            if term.weight(at) != 0:
                conds.extend(term.force.conditions(at))
        except EmnistDiffError:
            raise
        except Exception as error:
            raise RunFailed(f"force {term.name!r} raised {type(error).__name__}: {error} (step {at.index})") from error
    return tuple(dict.fromkeys(conds))


@attrs.frozen
class Plan:
    """The work ahead.

    timeline: the steps.  conditions: of each step, at its first look.  batches: positions of samples walked together.
    micro_batch: rows of every network call, constant in the run.  rows: network rows in all, padding not counted.
    calls: network calls in all.
    """

    timeline: Timeline
    conditions: tuple[tuple[Cond, ...], ...]
    batches: tuple[tuple[int, ...], ...]
    micro_batch: int
    rows: int
    calls: int


def make_plan(
    timeline: Timeline,
    base: Base,
    terms: Sequence[Term],
    labels: Sequence[int],
    spaces: Mapping[str, ConditionSpace],
    batch_size: int,
    micro_batch: int | None = None,
    sample_ids: Sequence[int] | None = None,
) -> Plan:
    """Plan a run over samples with these own class indices, and ids (0 … N-1 when left out).

    batch_size: samples walked together, at least 1.  micro_batch: rows of a network call; None chooses it so that
    `NOMINAL_BATCH` samples split into equal calls of at most `ROWS_PER_CALL` rows.
    """
    conditions = tuple(wanted(base, terms, timeline.at(i)) for i in range(len(timeline)))
    positions = range(len(labels))
    ids = positions if sample_ids is None else sample_ids
    batches = tuple(tuple(positions[i : i + batch_size]) for i in range(0, len(labels), batch_size))
    looks = [at for i in range(len(timeline)) for at in timeline.looks(i)]
    times = Counter(wanted(base, terms, at) for at in looks)

    def group_sizes(conds: tuple[Cond, ...], batch: Sequence[int]) -> list[int]:
        packing = pack(conds, [labels[p] for p in batch], spaces, [ids[p] for p in batch])
        return [len(group.sample) for group in packing.groups]

    sizes = [(count, group_sizes(conds, batch)) for batch in batches for conds, count in times.items()]
    if micro_batch is None:
        nominal = positions[:NOMINAL_BATCH]
        largest = max(size for conds in times for size in group_sizes(conds, nominal))
        micro_batch = math.ceil(largest / math.ceil(largest / ROWS_PER_CALL))
    return Plan(
        timeline,
        conditions,
        batches,
        micro_batch,
        rows=sum(count * sum(groups) for count, groups in sizes),
        calls=sum(count * sum(math.ceil(size / micro_batch) for size in groups) for count, groups in sizes),
    )
