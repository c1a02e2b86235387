"""Schedulers of ours on a pipeline beside diffusers' own, and how many rows prompts cost."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emnist_diff_plugins.forecast import Padding

sys.path.insert(0, str(Path(__file__).parent))

import pairs  # it stands beside this file

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers


@pytest.mark.parametrize("pair", pairs.DIFFUSIONS, ids=lambda pair: pair.scheduler)
def test_schedulers_are_those_of_diffusers(pipeline: Callable[[str], Path], pair: pairs.Pair):
    found = pairs.difference(pipeline("sdxl"), pair)
    assert found.latents < pairs.ALIKE
    assert found.largest <= 1
    assert found.share <= 1e-3


def script(name: str) -> Any:
    """A benchmark's module."""
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_of_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_of_capture_runs(tmp_path: Path):
    capture = script("capture")
    rows = capture.sdxl(tmp_path, side=32, width=32, steps=2, rounds=1)[2:]
    names = ["without", "during the run", "afterwards", "diffusers without", "diffusers with processors"]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == names
    assert len(capture.shipped(samples=2, steps=1, rounds=1)) == 5


def test_the_benchmark_runs(pipeline: Callable[[str], Path], tmp_path: Path):
    benchmark = script("pipelines")
    (tmp_path / "sdxl").symlink_to(pipeline("sdxl"))
    head, rule, row = benchmark.parity(tmp_path, pairs.OTHERS[:1])
    assert head.count("|") == rule.count("|") == row.count("|")
    line = benchmark.speed(tmp_path, side=32, width=32, steps=2, rounds=1)
    assert "4 rows: ours" in line
    assert "| SDXL | 2.57 · 10⁹, 4.8 | 1.3 |" in benchmark.memory(("SDXL",))[-1]


def test_no_row_is_computed_that_nobody_reads(pipeline: Callable[[str], Path]):
    size = {"height": 384, "width": 384}  # from which rows are evaluated one at a time
    layer = {"denoiser": {"name": "sdxl", "path": str(pipeline("sdxl")), **size}, "prompt": "a cat", "steps": 2}
    for samples, batch in ((3, 1), (5, 2)):
        _, _, run = pairs.ours(layer | {"total_videos": samples, "batch_size": batch})
        padding = Padding.of(run.plan, run.engine)
        assert padding.computed == padding.rows == samples * 2 * 2


@pytest.mark.parametrize("count", [0, 3])
def test_further_prompts_cost_a_row_each(pipeline: Callable[[str], Path], count: int):
    forces = [{"name": "attract_class", "target": f"number {k}", "weight": 0.3} for k in range(count)]
    layer = {"checkpoint": str(pipeline("sdxl")), "prompt": "a cat", "total_videos": 5, "steps": 2, "forces": forces}
    _, _, run = pairs.ours(layer)
    assert run.plan.rows == (count + 2) * 5 * 2
