"""Files of some kilobytes that claim gigabytes: refused before anything is read."""

from __future__ import annotations

import json
import tracemalloc

import h5py
import numpy as np
import pytest

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import structure

MANY = 1 << 22


def _replaced(file, name, **how):
    del file[name]
    file.create_dataset(name, **how)


def _all_lists(file, count):
    """Lists of a schedule of this length, which compress to some kilobytes."""
    for name in ("step", "timestep", "alpha_bar", "sigma", "evaluations"):
        values = (np.arange(count) % 251).astype(file[f"schedule/{name}"].dtype)
        _replaced(file, f"schedule/{name}", data=values, chunks=(1 << 18,), compression="gzip")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: _replaced(f, "schedule/alpha_bar", shape=(MANY,), dtype="f8", chunks=(1,)),
         "4194304 chunks of 8 bytes"),
        (lambda f: _replaced(f, "images", shape=(5, 4096, 4096), dtype="u1", chunks=(1, 1, 1)), "chunks of 1 bytes"),
        (lambda f: _replaced(f, "samples/classes", shape=(60_000,), dtype=h5py.string_dtype(), chunks=(1,)),
         "60000 chunks"),
        (lambda f: _replaced(f, "images", shape=(5, 1 << 15, 1 << 15), dtype="u1", chunks=(1, 1 << 10, 1 << 10)),
         "are stored"),
        (lambda f: _replaced(f, "samples/id", shape=(MANY,), dtype="i8", chunks=(1 << 19,)), "are stored"),
        (lambda f: _all_lists(f, 1 << 19), "claims 524288 steps, more than so few bytes can hold"),
        (lambda f: f.attrs.create("format", ["x" * 9] * 200, dtype=h5py.string_dtype()),
         "attribute format is too large"),
    ],
)  # fmt: skip
def test_a_claim_without_bytes_behind_it_costs_nothing(tmp_path, make_run, spoil, complaint):
    path = make_run(samples=5).record(tmp_path / "t.h5")
    with h5py.File(path, "r+", libver="latest") as file:
        spoil(file)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(TrajectoryError, match=complaint) as caught:
            Trajectory(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_small_chunks_are_read_where_they_are_few(tmp_path, make_run):
    path = make_run(samples=5).record(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        values = file["schedule/alpha_bar"][...]
        _replaced(file, "schedule/alpha_bar", data=values, chunks=(1,))
    with Trajectory(path) as t:
        assert np.array_equal(t.alpha_bar, values)


@pytest.mark.filterwarnings("error")
def test_a_schedule_that_begins_with_negative_zero_is_no_warning_of_numpy(tmp_path, make_run):
    path = make_run(samples=5).record(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        file["schedule/alpha_bar"][0] = -0.0
    with Trajectory(path) as t:
        assert [problem.where for problem in structure(t)] == ["schedule/sigma"]


@pytest.mark.parametrize("spoil", ["chunk", "nan", "dtype"])
def test_damaged_states_end_pack_and_metrics_with_a_line(cli, tmp_path, make_run, spoil):
    path = make_run(samples=5).record(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        values = file["trajectory/x"][...]
        if spoil == "nan":
            file["trajectory/x"][...] = np.nan
        elif spoil == "dtype":
            _replaced(file, "trajectory/x", data=values.astype("f8"))
        else:
            _replaced(file, "trajectory/x", data=values, chunks=(1, *values.shape[1:]), compression="gzip")
            file["trajectory/x"].id.write_direct_chunk((0,) * values.ndim, b"no zip")
    before = path.read_bytes()
    done = cli("metrics", path, "--json", "--output", tmp_path / "m")
    assert done.code == (0 if spoil == "dtype" else 5), done  # an unusual dtype is left out, with a warning
    assert "Traceback" not in done.err
    if done.code == 0:
        assert json.loads(done.out)["samples"] == 5
    packed = cli("pack", path, "--replace", "--codec", "gzip")
    assert packed.code == (0 if spoil == "nan" else 5), packed  # packing keeps every bit, whatever it means
    assert "Traceback" not in packed.err
    assert spoil == "nan" or path.read_bytes() == before
