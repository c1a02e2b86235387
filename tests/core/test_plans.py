"""Plans of runs of any size: they count what walking every batch would, in time that does not depend on the size."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import NULL, OWN, Cond, each, named, pack
from emnist_diff.discovery import installed
from emnist_diff.engine.plan import Evaluations, Labels, make_plan
from emnist_diff_plugins.runconfig import resolve
from emnist_diff_plugins.spaces import ClassSpace

_CLASSES = ClassSpace(tuple("ABCDEFG"), null_index=7)
SPACES = {"": _CLASSES, "weak": ClassSpace(tuple("GFEDCBA"), null_index=7)}
CONDITIONS = ((OWN, NULL), (OWN, named("B")), (NULL,), (OWN, Cond("own", denoiser="weak"), named("A"), named("B")))


def evaluations(*conditions: tuple[Cond, ...]) -> Evaluations:
    return Evaluations(conditions, MappingProxyType({conds: 3 + n for n, conds in enumerate(conditions)}))


def walked(made: Evaluations, labels: list[int], ids: list[int], size: int) -> dict[tuple[str, str], Counter[int]]:
    """The rows of every batch, one after the other."""
    out: dict[tuple[str, str], Counter[int]] = {}
    for start in range(0, len(labels), size):
        some = slice(start, start + size)
        for conds, count in made.counts.items():
            for group in pack(conds, labels[some], SPACES, ids[some]).groups:
                out.setdefault((group.denoiser, group.variant), Counter())[len(group.sample)] += count
    return out


@settings(max_examples=150, deadline=None)
@given(
    turn=st.permutations(range(7)).flatmap(lambda p: st.integers(1, 7).map(lambda n: tuple(p[:n]))),
    count=st.integers(0, 90),
    workers=st.integers(1, 8),
    size=st.integers(1, 12),
    data=st.data(),
)
def test_a_plan_counts_the_rows_of_every_batch_of_every_worker(
    turn: tuple[int, ...], count: int, workers: int, size: int, data: Any
):
    rank = data.draw(st.integers(0, workers - 1))
    conditions = data.draw(st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3, unique=True))
    if data.draw(st.booleans()):
        conditions.append((OWN, each([data.draw(st.sampled_from("ABC")) for _ in range(90)])))
    made = evaluations(*conditions)
    ids = list(range(rank, count, workers))
    own = Labels(turn, range(count))[rank::workers]
    assert list(own) == [turn[i % len(turn)] for i in ids]
    assert list(own.ids) == ids
    plan = make_plan(made, SPACES, own, size, 4, 5)
    assert plan.networks == walked(made, list(own), ids, size)


def test_a_plan_of_the_largest_run_takes_no_time():
    whole = Labels(tuple(range(7)), range(2**40))
    plan = make_plan(evaluations((OWN, named("B"))), SPACES, whole, 256, 32)
    assert plan.rows == 3 * (2 * 2**40 - len(range(1, 2**40, 7)))  # the samples of B need one row for both
    share = make_plan(evaluations((OWN, named("B"))), SPACES, whole[123 :: 2**20], 256, 32)
    ids = range(123, 2**40, 2**20)
    assert share.rows == 3 * (2 * len(ids) - sum(i % 7 == 1 for i in ids))


@pytest.mark.parametrize("workers", [1, 3, 1000])
def test_a_header_holds_the_samples_of_its_worker_alone(workers: int):
    count = 5 * workers + 1
    made = {"name": "gaussian-mixture", "classes": "ABCD"}
    worker = {"total_videos": count, "character": "B,A,D", "rank": workers - 1, "world_size": workers}
    header = assemble(installed(), resolve({"denoiser": made, "sinks": [], **worker})).header
    ids = np.arange(count)[workers - 1 :: workers]
    assert header.sample_ids.tolist() == ids.tolist()
    assert header.sample_ids.dtype == np.int64
    places = [header.classes.index(name) for name in "BAD"]
    assert header.labels.tolist() == [places[i % 3] for i in ids]
    assert header.labels.dtype == np.int64
    assert set(header.seeds.tolist()) == {1000}
    assert header.seeds.dtype == np.uint64
    assert len(header.seeds) == len(ids)
