"""Schedulers through the command line and in the trajectory file."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from emnist_diff.errors import CheckpointError
from emnist_diff.timeline import FlowSchedule, NoiseSchedule
from emnist_diff_plugins.containers.shipped import shipped
from emnist_diff_plugins.sinks.hdf5 import Hdf5Sink

MIXTURE = "gaussian-mixture:shape=[1,4,4],classes=AB"


def written(case) -> str:
    """A case as ``--scheduler`` takes it."""
    name = case.label.partition(",")[0]
    settings = ",".join(f"{key}={value}" for key, value in case.settings.items())
    return f"{name}:{settings}" if settings else name


def ran(cli, case, output: Path, *more: str) -> Path:
    denoiser = MIXTURE + (",prediction=flow" if case.is_flow else "")
    said = ("--denoiser", denoiser, "--character", "A", "--total-videos", "3", "--steps", "4", "--scheduler")
    finished = cli("run", *said, written(case), "--sink", "hdf5", "--output", output, *more)
    assert finished.code == 0, finished.err
    return output / "A" / "trajectory.h5"


def test_the_file_says_how_often_each_step_asked(cli, tmp_path, built_in):
    path = ran(cli, built_in, tmp_path)
    with h5py.File(path) as file:
        evaluations, x = file["schedule/evaluations"][:], file["trajectory/x"][:]
        assert file["schedule/timestep"].shape == (4,)
    two = built_in.label.partition(",")[0] in ("heun", "dpm2", "dpmpp_sde", "edm", "flow_heun", "flow_midpoint")
    expected = [2, 2, 2, 2 if "midpoint" in built_in.label else 1] if two else [1, 1, 1, 1]
    if built_in.label.partition(",")[0] == "flow_edm":  # its first step starts at an infinite sigma, and is Euler's
        expected = [1, 2, 2, 1]
    assert evaluations.tolist() == expected
    assert np.isfinite(x).all()
    assert cli("verify", path).code == 0


class Unplugged(Exception):
    """The power goes."""


def test_an_interrupted_run_goes_on_to_the_same_bytes(cli, tmp_path, built_in, monkeypatch):
    whole = ran(cli, built_in, tmp_path / "whole", "--batch-size", "1")
    commit, done = Hdf5Sink.commit, []

    def once(self, batch):
        if done:
            raise Unplugged
        commit(self, batch)
        done.append(batch)

    monkeypatch.setattr(Hdf5Sink, "commit", once)
    with pytest.raises(AssertionError, match="Unplugged"):
        ran(cli, built_in, tmp_path / "cut", "--batch-size", "1")
    monkeypatch.setattr(Hdf5Sink, "commit", commit)
    resumed = ran(cli, built_in, tmp_path / "cut", "--batch-size", "1", "--resume")
    assert len(done) == 1
    with h5py.File(whole) as one, h5py.File(resumed) as other:
        names = [name for name in ("trajectory/x", "trajectory/x0", "images") if name in one]
        assert "trajectory/x" in names
        assert all(np.array_equal(one[name][:], other[name][:]) for name in names)


def test_the_list_says_what_each_is(cli, built_in):
    name = built_in.label.partition(",")[0]
    (row,) = (row for row in json.loads(cli("schedulers", "--json").out) if row["scheduler"] == name)
    assert row["process"] == ("flow" if built_in.is_flow else "diffusion")
    assert row["predictions"] == ("flow sample" if built_in.is_flow else "epsilon v_prediction sample")
    assert (row["noise"] != "no") >= built_in.noisy
    kind = "flow" if built_in.is_flow else "v_prediction"
    bound = built_in().bind(FlowSchedule() if built_in.is_flow else NoiseSchedule(), kind)
    assert row["evaluations"] == str(bound.plan(5).evaluations.max())
    assert name in cli("schedulers").out


@pytest.mark.parametrize(
    ("scheduler", "denoiser", "instead"),
    [("heun", MIXTURE + ",prediction=flow", "flow_heun"), ("flow_midpoint", MIXTURE, "dpm2")],
)
def test_the_wrong_process_is_refused_in_one_line(cli, tmp_path, scheduler, denoiser, instead):
    said = ("--denoiser", denoiser, "--scheduler", scheduler, "--steps", "4", "--output", tmp_path)
    finished = cli("run", *said)
    assert finished.code != 0
    assert finished.error.endswith(f"use {instead}")
    assert not any(tmp_path.iterdir())


def test_the_shipped_checkpoint_gives_strokes_on_black_under_every_scheduler(cli, tmp_path, diffusion_as_it_comes):
    try:
        shipped()
    except CheckpointError:
        pytest.skip("no checkpoint is shipped")
    said = ("--character", "O", "--total-videos", "2", "--steps", "4", "--scheduler", written(diffusion_as_it_comes))
    finished = cli("run", *said, "--sink", "hdf5", "--output", tmp_path)
    assert finished.code == 0, finished.err
    with h5py.File(tmp_path / "O" / "trajectory.h5") as file:
        images, x = file["images"][:] / 255, file["trajectory/x"][:]
    assert np.isfinite(x).all()
    assert (images[:, 8:20, 8:20].max((1, 2)) > 0.5).all()  # ink in the middle
    assert images[:, :2].mean() < 0.2  # and little at the edge
    assert 0.03 < images.mean() < 0.4
