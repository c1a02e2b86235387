"""``emnist-diff attend --max-size``: what is given up is named, and only what made the file smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def run(cli: Any, tmp_path: Path) -> Path:
    words = ("--character", "A", "--total-videos", 4, "--steps", 8, "--sink", "hdf5", "--output", tmp_path)
    assert (done := cli("run", *words)).code == 0, done.error
    return tmp_path / "A" / "trajectory.h5"


def test_what_is_given_up(cli: Any, run: Path):
    def attend(*words: Any) -> Any:
        return cli("attend", run, "--dry-run", "--json", *words)

    whole, apart = (json.loads(attend("--heads", heads).out)["bytes"] for heads in ("mean", "all"))
    assert apart > 3 * whole
    for most, heads, given_up in (
        (apart, "all", []),
        (whole + 1000, "all", ["heads apart from each other (only their mean is kept)"]),
        (0.55 * whole, "mean", ["steps that 2 does not divide"]),
        (0.3 * whole, "mean", ["steps that 2 does not divide", "maps of more than 4 places a side"]),
    ):
        found = json.loads(attend("--heads", heads, "--max-size", int(most), "--fit").out)
        assert found["bytes"] <= most
        assert found["given_up"] == given_up
    done = attend("--max-size", 100, "--fit")
    assert done.code == 2
    assert "what is recorded does not fit into 100 bytes: the least is" in done.error
    done = attend("--max-size", whole - 1)
    assert done.code == 2
    assert "use --fit to keep less" in done.error
    assert [path.name for path in run.parent.iterdir()] == ["trajectory.h5"]
