"""How calls are cut into parts: few rows at a time, without making full calls slower, and what is padding."""

from __future__ import annotations

import json
import math

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emnist_diff.assembly.assemble import assemble
from emnist_diff.direct import LOSS, MOST, PRICE, Direct, part_rows, rows_of
from emnist_diff.discovery import installed
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff_plugins.forecast import Padding
from emnist_diff_plugins.layers import configure


def cost(rows: int, threads: int, size: int) -> float:
    return math.ceil(math.ceil(rows / size) / threads) * (size + PRICE)


@given(rows=st.integers(1, 300), threads=st.integers(1, 70))
def test_small_parts_cost_a_full_call_little(rows, threads):
    size = part_rows(rows, threads)
    assert 1 <= size <= min(MOST, rows)
    fastest = math.ceil(rows / (math.ceil(math.ceil(rows / MOST) / threads) * threads))
    assert cost(rows, threads, size) <= LOSS * cost(rows, threads, fastest)


@pytest.mark.parametrize(
    ("rows", "threads", "size"),
    [(32, 2, 8), (20, 2, 5), (32, 1, 8), (32, 16, 2), (2, 2, 1), (2, 1, 2)],
)
def test_parts(rows, threads, size):
    assert part_rows(rows, threads) == size


MIXTURE = {"name": "gaussian-mixture", "settings": {"shape": [1, 4, 4], "classes": "ABC"}}


@pytest.mark.parametrize(
    ("layer", "computed"),
    [
        ({"denoiser": MIXTURE, "batch_size": 1, "threads": 1}, 10 * 5),
        ({"denoiser": MIXTURE, "batch_size": 3, "threads": 1}, 3 * 10 + 5),
        ({"denoiser": MIXTURE, "threads": 2, "batch_size": 1}, 10 * 10),
        ({"backend": "eager", "batch_size": 1, "threads": 2}, 10 * 5),
        ({"backend": "eager", "batch_size": 3, "threads": 2}, 3 * 10 + 5),
        ({"backend": "eager", "batch_size": 10, "threads": 2}, 20),
        ({"backend": "eager", "batch_size": 1, "threads": 2, "micro_batch": 2}, 20),
    ],
)
def test_a_batch_of_few_does_not_compute_a_full_call(tmp_path, layer, computed):
    layer = {"output": str(tmp_path), "character": "A", "total_videos": 10, "steps": 20, **layer}
    run = assemble(installed(), configure(installed(), layer)[0])
    assert Padding.of(run.plan, run.engine) == Padding(20 * 20, 20 * computed)


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_bits_do_not_depend_on_how_many_rows_a_batch_has(tmp_path, backend):
    """Two samples of ten, walked with all others, with one other, and by themselves."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    layer = {"character": "A,B", "total_videos": 10, "steps": 2, "threads": 2, "backend": backend, "sinks": []}
    finals = []
    for size in (10, 3, 1):
        settings, _ = configure(installed(), {"output": str(tmp_path), **layer, "batch_size": size})
        run = assemble(installed(), settings)
        assert rows_of(run.engine.evaluator(""), 20) == 5
        count = {10: 10, 3: 3, 1: 2}[size]
        ids = [0, 9, *range(1, count - 1)]
        batch = Batch(tuple(ids), tuple(ids), tuple(int(run.header.labels[i]) for i in ids), (settings.seed,) * count)
        *_, last = walk(run.engine, batch, lambda at: frozenset())
        finals.append(last.x[:2])
    assert torch.equal(finals[0], finals[1])
    assert torch.equal(finals[0], finals[2])


def test_an_evaluator_is_asked_for_its_own_rows(make_engine, walk_all):
    seen: list[int] = []

    class Watched(Direct):
        def __call__(self, x, t, conds):
            seen.append(len(x))
            return super().__call__(x, t, conds)

    engine = make_engine(steps=2, micro_batch=20)
    watched = Watched(engine.denoisers[""], 5)
    walk_all(attrs.evolve(engine, evaluators={"": watched}), range(3))
    assert seen == [10, 10]


def test_a_run_that_mostly_pads_says_so(cli):
    command = (
        "run",
        "--denoiser",
        "gaussian-mixture:shape=[1,4,4],classes=ABC",
        "--threads",
        "1",
        "--steps",
        "40",
        "--total-videos",
        "16",
    )
    finished = cli(*command, "--batch-size", "1", "--dry-run")
    plan = json.loads(finished.out)["plan"]
    assert (plan["network_rows"], plan["padding_rows"], plan["padding_share"]) == (1280, 3840, 0.75)
    assert "rows.padded" in finished.err
    assert "75%" in finished.err
    finished = cli(*command, "--dry-run")
    assert json.loads(finished.out)["plan"]["padding_share"] == 0
    assert "rows.padded" not in finished.err
