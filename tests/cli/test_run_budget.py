"""``emnist-diff run``: the size of its file is known before the first step, and may be bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emnist_diff_trajectory.reader import Trajectory

RUN = ("run", "--character", "A", "--total-videos", 4, "--steps", 6, "--force", "attract_class:target=B")


@pytest.mark.parametrize(
    "sink",
    [
        "hdf5",
        'hdf5:attention={"heads":"all","layers":["*"]},activations=hidden,dtype=float16',
        'hdf5:activations=attention,conditions=own,every=2,samples=2,fields=["x"]',
    ],
)
def test_the_size_is_predicted(cli: Any, tmp_path: Path, sink: str):
    words = (*RUN, "--sink", sink, "--output", tmp_path)
    done = cli(*words, "--dry-run", "--log-format", "human")
    path = tmp_path / "A" / "trajectory.h5"
    assert not path.exists()
    (held,) = json.loads(done.out)["files"].values()
    assert list(json.loads(done.out)["files"]) == [str(path)]
    assert str(path) in done.err.splitlines()
    assert cli(*words).code == 0
    with Trajectory(path) as trajectory:
        for name, values in trajectory.datasets().items():
            assert held.pop(name) == {"dtype": str(values.dtype), "shape": [*values.shape], "bytes": values.nbytes}
            assert any(line.split()[:1] == [name] for line in done.err.splitlines())
        rest = path.stat().st_size - sum(values.nbytes for values in trajectory.datasets().values())
    (before,) = held.values()
    assert abs(before["bytes"] - rest) < 8192  # far below the promised MiB


def test_a_run_that_becomes_too_large_is_refused_or_made_smaller(cli: Any, tmp_path: Path):
    sink = 'hdf5:attention={"heads":"all","layers":["*"]}'
    words = (*RUN, "--sink", sink, "--output", tmp_path)
    refused = cli(*words, "--max-size", "2MB")
    assert refused.code == 2
    assert "is more than 2.0 MB — use --fit" in refused.error
    assert '"trajectory/x": ' in refused.err
    assert not list(tmp_path.iterdir())
    impossible = cli(*words, "--max-size", "50kB", "--fit")
    assert impossible.code == 2
    assert "what is recorded does not fit into 50.0 kB: the least is" in impossible.error
    assert not list(tmp_path.iterdir())
    for resume in ((), ("--resume",)):
        made = cli(*words, "--max-size", "2MB", "--fit", *resume)
        assert made.code == 0, made.err
        expected = ["heads apart from each other (only their mean is kept)", "steps that 2 does not divide"]
        assert ", ".join(expected) in made.err
        path = tmp_path / "A" / "trajectory.h5"
        assert path.stat().st_size <= 2_000_000
        with Trajectory(path) as trajectory:
            assert trajectory.environment["given_up"] == expected
            assert trajectory.kept_steps.tolist() == [0, 2, 4]
            assert trajectory.activation("attention/mid_block.attentions.0.self").shape[3] == 1
            assert len(trajectory.environment["activations"]["attention"]) == 4


def test_without_attention_fewer_steps_are_kept(cli: Any, tmp_path: Path):
    (tmp_path / "of").mkdir()
    words = (
        "run",
        "--denoiser",
        "gaussian-mixture:shape=[1,8,8],classes=ABC",
        "--steps",
        32,
        "--output",
        tmp_path / "of",
    )
    done = cli(
        *words, "--total-videos", 9, "--sink", "hdf5", "--sink", "grid", "--max-size", 150_000, "--fit", "--dry-run"
    )
    settings = [sink.get("settings") for sink in json.loads(done.out)["config"]["sinks"] if sink["name"] == "hdf5"]
    assert [setting["every"] for setting in settings] == [4]
    odd = cli(*words, "--fit")
    assert odd.code == 2
    assert "--fit needs --max-size" in odd.error
