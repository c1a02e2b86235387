"""Labelled axes, lazily read."""

from __future__ import annotations

import builtins
import importlib.util
import runpy
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from emnist_diff.errors import ConfigError
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.writer import TrajectoryWriter

EXAMPLES = Path(__file__).parents[2] / "examples"
needs_xarray = pytest.mark.skipif(importlib.util.find_spec("xarray") is None, reason="xarray is not installed")


@needs_xarray
def test_axes_are_labelled_and_values_are_those_of_the_file(tmp_path, a_run):
    data = a_run.data([0, 1, 4])
    with Trajectory(a_run.record(tmp_path / "t.h5", [[0, 1], [4]])) as t:
        labelled = t.to_xarray()
        assert labelled.x.dims == ("sample", "state", "channel", "row", "column")
        assert labelled.x0.dims == ("sample", "step", "channel", "row", "column")
        assert labelled.images.dims == ("sample", "image_row", "image_column")
        assert labelled.sample.values.tolist() == [100, 101, 104]
        assert labelled.character.values.tolist() == ["A", "é", "A"]
        assert np.array_equal(labelled.x, data["trajectory/x"])
        assert np.array_equal(labelled.x0.sel(sample=104, step=2), data["trajectory/x0"][2, 2])
        assert np.array_equal(labelled["forces.01_push1.contribution"], data["forces/01_push1/contribution"])
        assert np.array_equal(labelled["forces.01_push1.weight"], t.field("forces/01_push1/weight"))
        some = labelled.x.sel(sample=[104, 100])[:, -1, 0, :, 1]
        assert np.array_equal(some, data["trajectory/x"][[2, 0], -1, 0, :, 1])
        assert labelled.where(labelled.character == "é", drop=True).sizes["sample"] == 1


@needs_xarray
def test_kept_steps_and_samples_have_their_own_labels(tmp_path, a_run):
    data = a_run.data(range(5))
    writer = TrajectoryWriter.create(tmp_path / "t.h5", a_run.header, Capture(every=3, samples=frozenset({101, 104})))
    columns = {"trajectory/x": [0, 3, 4]}
    writer.commit(range(5), {n: v if n == "images" else v[[1, 4]][:, columns.get(n, [0, 3])] for n, v in data.items()})
    writer.close()
    with Trajectory(tmp_path / "t.h5") as t:
        labelled = t.to_xarray()
        assert labelled.x.dims[:2] == ("kept", "state")
        assert labelled.kept.values.tolist() == [101, 104]
        assert labelled.step.values.tolist() == [0, 3]
        assert labelled.state.values.tolist() == [0, 3, 4]
        assert labelled.timestep.values.tolist() == [3.0, 0.0]
        assert np.array_equal(labelled.base.sel(kept=104, step=3), data["trajectory/base"][4, 3])


@needs_xarray
def test_nothing_is_read_before_it_is_used(tmp_path, a_run, monkeypatch):
    read = []
    get = h5py.Dataset.__getitem__
    with Trajectory(a_run.record(tmp_path / "t.h5")) as t:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda d, k: (read.append((d.name, k)), get(d, k))[1])
        labelled = t.to_xarray()
        part = labelled.x0.isel(sample=2, step=slice(0, 2))
        assert not [name for name, _ in read if name.startswith("/trajectory/x") or name == "/images"]
        part.load()
        assert [name for name, _ in read if name.startswith("/trajectory/x")] == ["/trajectory/x0"]
        assert read[-1][1][:2] == (2, slice(0, 2, 1))


def test_without_xarray_the_way_out_is_named(tmp_path, a_run, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.partition(".")[0] == "xarray":
            raise ImportError(name)
        return real(name, *rest, **more)

    with Trajectory(a_run.record(tmp_path / "t.h5")) as t:
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ConfigError, match=r"pip install 'emnist-diff\[xarray\]'"):
            t.to_xarray()


@pytest.mark.parametrize("name", ["read_trajectory.py", pytest.param("trajectory_xarray.py", marks=needs_xarray)])
def test_the_examples_read_a_run(tmp_path, cli, capsys, monkeypatch, name):
    command = ["run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB", "--steps", "4", "--output", tmp_path]
    assert cli(*command, "--sink", "hdf5").code == 0
    monkeypatch.setattr(sys, "argv", [name, str(tmp_path / "A" / "trajectory.h5")])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    out = capsys.readouterr().out
    assert "10 " in out
    assert len([line for line in out.splitlines() if line.strip()[:1].isdigit() and "." in line]) >= 4
    if name == "read_trajectory.py":
        source = (EXAMPLES / name).read_text(encoding="utf-8")
        assert "import h5py" in source
        assert "emnist_diff" not in source
