"""A recorded file's checkpoint is found by its hash, wherever it was put."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from emnist_diff import Trajectory
from emnist_diff.discovery import installed
from emnist_diff_plugins.benching import userconfig
from emnist_diff_plugins.checkpoint_search import VARIABLE, Wanted, find
from emnist_diff_plugins.containers import checkpoint
from emnist_diff_plugins.containers.checkpoint import CheckpointHeader
from emnist_diff_trajectory import files


def saved(path: Path, seed: int = 0) -> Path:
    """A checkpoint of a model whose states of two numbers are no pictures."""
    header = CheckpointHeader(
        family="gaussian-mixture", network={"shape": [2], "classes": "AB", "seed": seed}, classes=("A", "B"),
        null_index=2, epoch=4,
    )  # fmt: skip
    checkpoint.save(path, header, {"nothing": torch.zeros(1)})
    return path


@pytest.fixture
def recorded(tmp_path, cli, monkeypatch):
    """A run's file, far from its checkpoint."""
    original = saved(tmp_path / "elsewhere" / "store" / "model_epoch004.safetensors")
    work = tmp_path / "a" / "b" / "c" / "d" / "e"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    done = cli("run", "--checkpoint", original, "--character", "A", "--total-videos", "2", "--steps", "2")
    assert done.code == 0, done.err
    return next(work.rglob("trajectory.h5")), original


def test_a_checkpoint_is_found_where_people_put_it(recorded, cli, tmp_path, monkeypatch):
    file, original = recorded
    wanted = Wanted(files.sha256(original), {"file": original.name, "epoch": 4, "schedule": {}})

    def nearest() -> Path | None:
        return find(installed(), wanted, file)

    failed = cli("replay", file)
    assert failed.code == 4
    for part in (wanted.sha256[:12], str(file.parent), f"up to {tmp_path}/a/b/c", "--checkpoint FILE", f"${VARIABLE}"):
        assert part in failed.error
    saved(file.with_name(original.name), seed=1)  # another model under the recorded name
    assert cli("replay", file).code == 4

    monkeypatch.setenv(VARIABLE, f"{tmp_path}/nowhere:{tmp_path}/elsewhere")
    assert nearest() == original
    monkeypatch.delenv(VARIABLE)
    config = tmp_path / "user.toml"
    config.write_text(f'[checkpoints]\nfolders = ["{original.parent}"]\n')
    monkeypatch.setenv(userconfig.VARIABLE, str(config))
    assert nearest() == original
    (above := tmp_path / "a" / "b" / "c" / "models").mkdir()
    beside = Path(shutil.copy(original, above))
    assert nearest() == beside


def test_commands_need_no_checkpoint_that_is_near(recorded, cli):
    file, original = recorded
    original.rename(file.with_name("renamed.safetensors"))
    for command in (
        ("replay", file),
        ("inspect", file, "--sample", "0", "--decode"),
        ("metrics", file, "--basin", "model"),
        ("export", file, "--frames"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
        assert "no_pixels" not in done.err


@pytest.mark.parametrize("record", ["trajectory.h5", "metadata.json", "config.json"])
def test_a_recorded_configuration_runs_again_without_naming_its_checkpoint(recorded, cli, record, tmp_path):
    file, original = recorded
    rerun = cli("run", "--config", file, "--checkpoint", original, "--save-metadata", "--overwrite")
    assert rerun.code == 0, rerun.err
    with Trajectory(file) as trajectory:
        config, states = trajectory.config, trajectory.field("x")[:]
    file.with_name("config.json").write_text(json.dumps(config))
    run = ("run", "--config", file.with_name(record), "--output", tmp_path / "again")
    failed = cli(*run)
    assert failed.code == 4
    assert failed.error.startswith(f"emnist-diff: {file.with_name(record)} was made with the checkpoint ")
    assert failed.error.endswith(f"use --checkpoint FILE, or name its folder in ${VARIABLE}")
    original.rename(file.with_name("renamed.safetensors"))
    done = cli(*run)
    assert done.code == 0, done.err
    assert np.array_equal(Trajectory(next((tmp_path / "again").rglob("*.h5"))).field("x")[:], states)


def test_a_recorded_guide_is_found_too(recorded, cli, tmp_path):
    file, original = recorded
    guide = saved(tmp_path / "guides" / "weak.safetensors", seed=3)
    done = cli("run", "--config", file, "--checkpoint", original, "--guide", f"weak={guide}", "--overwrite")
    assert done.code == 0, done.err
    again = ("run", "--config", file, "--checkpoint", original, "--output", tmp_path / "again")
    missing = cli(*again)
    assert missing.code == 4
    assert missing.error.endswith("use --guide weak=FILE")
    guide.rename(file.with_name("weak.safetensors"))
    assert cli(*again).code == 0


@pytest.mark.parametrize("text", ["[checkpoints]\nfolder = []", "[checkpoints]\nfolders = [3]", "checkpoints = 1"])
def test_folders_of_checkpoints_are_a_list_of_paths(recorded, cli, tmp_path, monkeypatch, text):
    (tmp_path / "user.toml").write_text(text)
    monkeypatch.setenv(userconfig.VARIABLE, str(tmp_path / "user.toml"))
    for command in (("replay", recorded[0]), ("run", "--dry-run")):
        done = cli(*command)
        assert done.code == 2
        assert "folders = [" in done.error
