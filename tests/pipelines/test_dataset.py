"""A dataset of a pipeline's sample has the tokens of its prompt, and what they get of attention."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff_trajectory.reader import Trajectory


@pytest.mark.parametrize(("kind", "tokens"), [("sdxl", 77), ("sd3", 333), ("schnell", 512)])
def test_a_dataset_of_a_pipeline(kind: str, tokens: int, pipeline: Callable[[str], Path], cli: Any, tmp_path: Path):
    own, folder = ("--checkpoint", pipeline(kind)), tmp_path / "dataset"
    family = {"name": "flux" if kind == "schnell" else kind, "path": str(pipeline(kind)), "height": 128, "width": 128}
    settings = {"denoiser": family, "prompt": "a cat", "steps": 2, "sinks": ["hdf5"], "output": str(tmp_path / "run")}
    (tmp_path / "run.json").write_text(json.dumps(settings))
    assert (done := cli("run", "--config", tmp_path / "run.json")).code == 0, done.err
    (path,) = (tmp_path / "run").rglob("trajectory.h5")
    assert (done := cli("attend", path, *own, "--dtype", "float32")).code == 0, done.err
    assert (done := cli("export", path, *own, "--dataset", folder, "--max-size", "2MB")).code == 0, done.err
    assert cli("validate-dataset", folder, "--strict").code == 0
    metadata, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("metadata", "metrics"))
    prompt = metadata["prompt"]
    assert (prompt["text"], len(prompt["tokens"])) == ("a cat", tokens)
    named = [token for token, special in zip(prompt["tokens"], prompt["special"], strict=True) if not special]
    assert "".join(named).startswith("acat")
    assert prompt["meaningful_token_count"] == len(named)
    activation = np.array(metrics["mean_token_activation"])
    assert activation.sum(1) == pytest.approx(np.ones(2), abs=1e-5)
    found = []
    with Trajectory(path.with_name("trajectory.attention.h5")) as file:
        for layer in file.environment["activations"]["attention"]:
            if layer["tokens"]:
                values = file.activation(f"attention/{layer['name']}.cross_activation", "own")[0, :, 0]
                found.append(values / values.sum(-1, keepdims=True))
    assert activation == pytest.approx(np.mean(found, axis=0), abs=1e-6)
    kept = np.where(prompt["special"], 0, activation)
    masked = (kept / kept.sum(1, keepdims=True)).mean(0)
    assert metrics["masked_token_dominance"]["scores"] == pytest.approx(masked.tolist(), abs=1e-6)
    assert bool(metrics["text_share"]) == (kind != "sdxl")  # whose layers attend to the image in the same breath
