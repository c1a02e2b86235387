"""The precision that a pipeline's network computes in, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emnist_diff.assembly.assemble import assemble
from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.reader import Trajectory

Folder = Callable[[str], Path]


def test_a_network_computes_in_the_precision_that_is_recorded(cli: Any, pipeline: Folder, tmp_path: Path):
    ends, predictions = {}, {}
    for precision in ("fp32", "bf16"):
        run = ("run", "--checkpoint", pipeline("sdxl"), "--prompt", "a cat", "--steps", "2", "--seed", "3")
        done = cli(*run, "--precision", precision, "--sink", "hdf5", "--output", tmp_path / precision)
        assert done.code == 0, done.error
        (path,) = (tmp_path / precision).rglob("trajectory.h5")
        with Trajectory(path) as trajectory:
            assert trajectory.config["precision"] == trajectory.environment["precision"] == precision
            ends[precision] = torch.from_numpy(trajectory.x[0, -1])
        layer = {"checkpoint": str(pipeline("sdxl")), "prompt": "a cat", "sinks": [], "device": "cpu"}
        settings, found = configure(installed(), layer | {"precision": precision})
        denoiser = assemble(installed(), settings, denoiser=found).engine.denoisers[""]
        assert denoiser.network.dtype == parts.DTYPES[precision]
        x = torch.ones(1, *denoiser.shape)
        predictions[precision] = denoiser.predict(x, torch.tensor([500.0]), RowConditions(torch.tensor([0])))
        assert predictions[precision].dtype == torch.float32
    assert 1e-4 < (ends["bf16"] - ends["fp32"]).abs().max() / ends["fp32"].abs().max() < 0.05
    assert torch.equal(predictions["bf16"], predictions["bf16"].bfloat16().float())
    assert cli("replay", path, "--checkpoint", pipeline("sdxl")).code == 0
    denoiser.cast("fp32")
    again = denoiser.predict(x, torch.tensor([500.0]), RowConditions(torch.tensor([0])))
    assert torch.equal(again, predictions["fp32"])
    refused = cli(*run, "--precision", "fp16", "--device", "cpu", "--output", tmp_path / "fp16")
    assert refused.code != 0
    assert "use --precision bf16" in refused.error


@pytest.mark.parametrize(
    ("dtypes", "precision"), [({"F16"}, "fp16"), ({"BF16", "F16"}, "bf16"), ({"F32", "F16"}, "fp32")]
)
def test_where_there_is_a_gpu_that_of_the_folder_is_recommended(
    pipeline: Folder, monkeypatch: pytest.MonkeyPatch, dtypes: set[str], precision: str
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("emnist_diff_plugins.denoisers.pipelines.folder.Weights.dtypes", frozenset(dtypes))
    layer = {"checkpoint": str(pipeline("sdxl")), "prompt": "a cat", "device": "cpu"}
    assert configure(installed(), layer)[0].precision == precision
    assert configure(installed(), layer | {"precision": "fp32"})[0].precision == "fp32"
