"""The trace of a run of texts: tokens get the same while images are made, in the file afterwards, and in a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff.frames import Frame
from emnist_diff_plugins.dashboard.numbers import Measuring
from emnist_diff_plugins.dashboard.state import Numbers
from emnist_diff_plugins.metrics.growing import LINES
from emnist_diff_plugins.sinks._recorded import Recorded
from emnist_diff_trajectory.reader import Trajectory

SCALARS = (
    *("latent_l2_norm", "predicted_noise_l2_norm", "cosine_similarity_to_previous", "cosine_of_updates"),
    *("attention_kl_divergence", "masked_attention_kl_divergence", "mean_token_activation"),
)


def read(path: Path) -> dict[tuple[int, int], dict[str, Any]]:
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    return {(line["vid_id"], line.get("step_index", -1)): line for line in lines}


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_tokens_get_the_same_live_and_afterwards(kind: str, pipeline: Callable[[str], Path], cli: Any, tmp_path: Path):
    own = ("--checkpoint", pipeline(kind))
    texts = ("--prompt", "a cat", "--prompt", "two dogs", "--base", "cond", "--steps", 2)
    sinks = ("--sink", "hdf5", "--sink", "metrics:trace=true", "--record-attention", "--output", tmp_path / "run")
    assert (done := cli("run", *own, *texts, *sinks, "--quiet")).code == 0, done.err
    (path,) = (tmp_path / "run").rglob("trajectory.h5")
    live = read(path.parent / "metrics" / LINES)
    assert (done := cli("metrics", path, *own, "--trace", "--output", tmp_path / "after")).code == 0, done.err
    assert read(tmp_path / "after" / LINES) == live
    rows = [(path.parent / "metrics" / "step_metrics.csv"), tmp_path / "after" / "step_metrics.csv"]
    assert rows[0].read_text() == rows[1].read_text()
    assert (done := cli("export", path, *own, "--dataset", tmp_path / "data", "--sample", 1)).code == 0, done.err
    metrics, plane = (json.loads((tmp_path / "data" / f"{n}.json").read_text()) for n in ("metrics", "latent_pca"))
    steps, last = [live[1, step] for step in range(2)], live[1, -1]
    for name in SCALARS:
        assert [line[name] for line in steps] == metrics[name], name
    for kind_of in ("cross_attention_entropy", "self_attention_entropy"):
        assert [line[kind_of]["mean"] for line in steps] == [step["mean"] for step in metrics[kind_of]]
    shares = [list(line["text_share"].values()) for line in steps]
    assert shares == [list(each) for each in zip(*metrics["text_share"].values(), strict=True)] or kind == "sdxl"
    assert last["token_dominance"] == metrics["token_dominance"]
    assert last["masked_token_dominance"] == metrics["masked_token_dominance"]
    assert last["latent_pca"] == plane
    best = last["masked_token_dominance"]["ranking"][0]
    assert steps[-1]["masked_token_dominance"]["ranking"][0] == best
    assert best["score"] == np.nanmax(np.array(last["masked_token_dominance"]["scores"], float))
    assert not last["special"][best["token_index"]]
    assert "".join(t for t, mark in zip(last["tokens"], last["special"], strict=True) if not mark).startswith("twodogs")
    assert steps[1]["attention_kl_divergence"] > 0
    with Trajectory(path) as file:
        shown = dashboard_numbers(file, tmp_path)
    for number, found in enumerate(shown):
        line = live[number, 1]
        values = {n: v["mean"] if isinstance(v, dict) else v for n, v in line.items() if n in found.values}
        assert dict(found.values) == values
        best = live[number, -1]["masked_token_dominance"]["ranking"][0]
        assert (found.token, found.share) == (live[number, -1]["tokens"][best["token_index"]], best["score"])


def dashboard_numbers(file: Trajectory, folder: Path) -> tuple[Numbers, ...]:
    """What the dashboard shows at the end of a run, of which it has seen every frame."""
    recorded = Recorded(file)
    measuring = Measuring(recorded.header(folder))
    wanted = dict.fromkeys(range(2), frozenset({"x", "prediction", "attention"}))
    for event in recorded.events(measuring.header, [0, 1], wanted):
        if isinstance(event, Frame):
            measuring.take(event)
        else:
            return measuring.numbers(event.x)
    raise AssertionError
