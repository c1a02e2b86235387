"""The trajectory file: what is refused, what is kept, what verify finds."""

from __future__ import annotations

import os
import re
import shutil
import time

import h5py
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.running.run import run
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory import temporary
from emnist_diff_trajectory.files import write_bytes
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import verify

SETTINGS = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB"},
    "total_videos": 5,
    "steps": 6,
    "batch_size": 2,
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
    "drifts": [{"name": "default", "noise_scale": 0.1}],
    "sinks": ["hdf5"],
}


def recorded(folder, resume=False, overwrite=False, **more):
    settings, _ = configure(installed(), SETTINGS | {"output": str(folder)} | more)
    run(settings, resume=resume, overwrite=overwrite)
    return folder / "A" / "trajectory.h5"


@pytest.fixture
def path(tmp_path):
    return recorded(tmp_path)


def test_a_fresh_file_verifies_and_its_ledger_adds_up_exactly(path):
    assert verify(path) == []
    with Trajectory(path) as t:
        total = t.base[...] + t.contribution(0)[...]
        assert np.array_equal(total, t.prediction[...])
        assert t.x.shape == (5, 7, 1, 4, 4)
        assert t.committed == [0, 1, 2, 3, 4]


def test_x_after_a_step_is_where_the_next_step_starts_drift_included(path):
    with h5py.File(path) as file:
        delta = file["drifts/00_default/delta"][:, :-1]
        assert np.abs(delta).max() > 0.05
        assert np.abs(file["drifts/00_default/delta"][:, -1]).max() == 0  # skip_last


def test_a_memory_map_equals_what_is_read(path):
    with Trajectory(path) as t:
        assert np.array_equal(t.mmap("x"), t.x[...])


def test_an_existing_file_is_refused_kept_and_replaced_on_request(tmp_path, path):
    before = path.read_bytes()
    whose = r"already exists and holds a run of 'A', seed 1000, written \d{4}-\d\d-\d\d \d\d:\d\d UTC — use --resume"
    with pytest.raises(OutputError, match=whose):
        recorded(tmp_path)
    for sink, name in (("grid", "samples.png"), ("metadata", "metadata.json")):
        (path.parent / name).touch()
        with pytest.raises(OutputError, match=re.escape(name) + f" {whose}"):
            recorded(tmp_path, sinks=[sink])
    assert path.read_bytes() == before
    recorded(tmp_path, overwrite=True, seed=5)
    assert path.read_bytes() != before


def test_resuming_another_run_is_refused_by_what_differs(tmp_path, path):
    with pytest.raises(TrajectoryError, match="seed: 1000 there, 7 here"):
        recorded(tmp_path, resume=True, seed=7)
    with pytest.raises(TrajectoryError, match="other fields"):
        recorded(tmp_path, resume=True, sinks=[{"name": "hdf5", "dtype": "float16"}])


def test_an_uncommitted_sample_is_made_again_to_the_same_bytes(tmp_path, path):
    before = path.read_bytes()
    with h5py.File(path, "r+") as file:
        file["samples/steps_done"][3] = 0
        file["trajectory/x"][3] = 0
    recorded(tmp_path, resume=True, batch_size=4)
    assert path.read_bytes() == before


def test_batch_size_changes_no_byte(tmp_path, path):
    for size in (1, 3, 16):
        assert recorded(tmp_path / str(size), batch_size=size).stat().st_size == path.stat().st_size
        with Trajectory(path) as one, Trajectory(tmp_path / str(size) / "A" / "trajectory.h5") as other:
            for name, dataset in one.datasets().items():
                assert np.array_equal(dataset[...], other.datasets()[name][...]), name


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda f: f["trajectory/base"].__setitem__((2, 1), 9.0), "base + Σ contributions differs at step 1"),
        (lambda f: f["trajectory/x"].__setitem__((4, 0), np.nan), "not finite"),
        (lambda f: f["samples/steps_done"].__setitem__(0, 3), "a marker is 0 or 6"),
        (lambda f: f["config"].__setitem__((), "{}"), "sha256"),
    ],
)
def test_verify_finds_what_is_wrong(path, spoil, what):
    with h5py.File(path, "r+") as file:
        spoil(file)
    assert any(what in problem.what for problem in verify(path))


def test_truncated_foreign_empty_and_newer_files_are_named(tmp_path, path):
    data = path.read_bytes()
    for name, content in {"cut": data[: len(data) // 2], "head": data[:100], "empty": b"", "text": b"hello"}.items():
        bad = tmp_path / f"{name}.h5"
        bad.write_bytes(content)
        with pytest.raises(TrajectoryError, match=name):
            Trajectory(bad)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(TrajectoryError, match="no emnist-diff trajectory"):
        Trajectory(tmp_path / "foreign.h5")
    newer = tmp_path / "newer.h5"
    shutil.copy(path, newer)
    with h5py.File(newer, "r+") as file:
        file.attrs["format_version"] = [2, 0]
    with pytest.raises(TrajectoryError, match=r"format 2\.0.*upgrade"):
        Trajectory(newer)
    with pytest.raises(TrajectoryError, match="is a directory"):
        Trajectory(tmp_path)
    with pytest.raises(TrajectoryError, match="does not exist"):
        Trajectory(tmp_path / "nothing.h5")


def test_data_kept_in_another_file_is_not_followed(tmp_path, path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.zeros((5, 7, 1, 4, 4), np.float32)
    with h5py.File(path, "r+") as file:
        del file["trajectory/x"]
        file["trajectory/x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
    with Trajectory(path) as t:
        assert "trajectory/x" not in t.datasets()


def test_a_disk_too_full_is_an_error_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    with pytest.raises(OutputError, match="are free"):
        recorded(tmp_path / "full")
    assert not list((tmp_path / "full").rglob("*.h5"))


def test_a_file_in_the_way_of_the_directory_is_an_error(tmp_path):
    (tmp_path / "A").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        recorded(tmp_path)


def test_leftovers_of_dead_processes_are_removed_and_live_files_of_other_hosts_stay(tmp_path):
    """Whatever process ids say on this host, and however long the name is."""
    (tmp_path / "A").mkdir()
    start = ".trajectory.h5"
    here = temporary.host()
    dead = [
        f"{start}.{here}.999999999.0-0.tmp",
        f"{start}.{here}.{os.getpid()}.0-7.tmp",
        f"{start}.node-aaaa.1.0-0.tmp",
    ]
    alive = [
        f"{start}.node-aaaa.999999999.0-0.tmp",
        f"{start}.{here}.{os.getppid()}.0-0.tmp",
        temporary.temporary_name(tmp_path / "A" / "trajectory.h5").name,
        ".trajectory.h5.999999999.tmp",
        ".other.h5" + dead[0].removeprefix(start),
    ]
    for name in (*dead, *alive):
        (tmp_path / "A" / name).write_text("")
    os.utime(tmp_path / "A" / dead[-1], (0, time.time() - temporary.STALE - 60))
    recorded(tmp_path)
    left = {path.name for path in (tmp_path / "A").iterdir()}
    assert left == {*alive, "trajectory.h5"}
    longest = tmp_path / ("é" * 127)
    write_bytes(longest, b"whole")
    assert longest.read_bytes() == b"whole"
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_temporary_name_names_host_and_process_and_is_never_given_twice(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    one, two = temporary.temporary_name(path), temporary.temporary_name(path)
    assert one != two
    assert f".{temporary.host()}.{os.getpid()}." in one.name
    temporary._token.cache_clear()  # as another process with the same id
    assert temporary.is_abandoned(one)
    assert not temporary.is_abandoned(temporary.temporary_name(path))
    temporary.host.cache_clear()
    monkeypatch.setattr(temporary.socket, "gethostname", lambda: "node7.cluster")
    try:
        assert temporary.host().startswith("node7-")
        monkeypatch.setattr(temporary.os, "readlink", lambda path: "pid:[1]")  # a container on the same host
        node = temporary.host()
        temporary.host.cache_clear()
        assert temporary.host() != node
    finally:
        temporary.host.cache_clear()
