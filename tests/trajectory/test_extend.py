"""A run that goes on with more samples than it had: those that are there stay, and all are those of a lone run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff_trajectory import creation
from emnist_diff_trajectory import writer as writing
from emnist_diff_trajectory.merge import merge, worker_files
from emnist_diff_trajectory.pack import Packing, pack
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter

RUN = (
    *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--character", "A,B,C", "--steps", "3"),
    *("--scheduler", "ddpm", "--force", "attract_class:target=B,weight=0.5", "--batch-size", "2", "--no-progress"),
)
SINKS = tuple(
    word
    for sink in ("hdf5", "grid", "metadata", "frames", "latents:every=2", "metrics", "strip")
    for word in ("--sink", sink)
)


def rows(path: Path) -> dict[int, bytes]:
    """Everything that a file holds of each committed sample."""
    out: dict[int, bytes] = {}
    with Trajectory(path) as trajectory:
        for position in trajectory.committed:
            data = b"".join(d[position].tobytes() for _, d in sorted(trajectory.datasets().items()))
            out[int(trajectory.ids[position])] = bytes([trajectory.labels[position]]) + data
    return out


def left(folder: Path) -> dict[str, str]:
    """Every file of a run with the hash of its content, but those that say when it was made or how long it took."""
    timed = ("metadata.json", "index.json", "video_metrics.csv", "step_metrics.csv", "inference_metrics.json")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in timed
    }


def test_more_samples_are_those_of_a_lone_run_in_every_sink(cli, tmp_path):
    def run(name, count, *more):
        return cli(*RUN, *SINKS, "--output", tmp_path / name, "--total-videos", str(count), *more)

    assert run("grown", 4).code == 0
    inside, alone = tmp_path / "grown" / "A+B+C", tmp_path / "alone" / "A+B+C"
    four = rows(inside / "trajectory.h5")
    before = json.loads((inside / "metadata.json").read_text())
    as_before = ("--micro-batch", str(before["config"]["micro_batch"]))

    grown = run("grown", 8, "--resume")
    assert grown.code == 0, grown.error
    assert "4 samples of 'A,B,C'" in grown.out
    assert "(4 were already there)" in grown.out
    assert run("alone", 8, *as_before).code == 0
    eight = rows(inside / "trajectory.h5")
    assert eight.keys() == set(range(8))
    assert {number: eight[number] for number in four} == four
    assert left(inside) == left(alone)
    assert verify(inside / "trajectory.h5") == []

    after = json.loads((inside / "metadata.json").read_text())
    assert after["run_id"] == before["run_id"]
    assert after["timestamp_start"] == before["timestamp_start"]
    assert after["config"]["total_videos"] == 8
    assert [v["id"] for v in json.loads((inside / "index.json").read_text())["videos"]] == list(range(8))
    tables = [(folder / "metrics" / "video_metrics.csv").read_text().splitlines() for folder in (inside, alone)]
    assert len(tables[0]) == len(tables[1]) == 9
    assert len({line.rpartition(",")[2] for line in tables[0][1:]}) == 1  # one run

    for sinks in (SINKS, ("--sink", "frames"), ("--sink", "metrics"), ("--sink", "metadata")):
        refused = cli(*RUN, *sinks, "--output", tmp_path / "grown", "--total-videos", "6", "--resume")
        assert refused.code in (5, 7)
        assert "has 8 samples, and 6 are wanted: a run is not made smaller" in refused.error
    assert left(inside) == left(alone)


@pytest.mark.parametrize("sink", ["frames", "metrics", "grid"])
def test_a_sink_alone_goes_on_by_what_it_left(cli, tmp_path, sink):
    command = (*RUN, "--sink", sink, "--output", tmp_path, "--total-videos")
    assert cli(*command, "3", "--micro-batch", "5").code == 0
    assert cli(*command, "5", "--resume", "--json").code == 0


def test_an_unfinished_run_and_one_without_states_of_all_can_grow(cli, tmp_path):
    command = (*RUN, "--sink", "hdf5:samples=2,dtype=float16", "--output", tmp_path / "grown", "--total-videos")
    assert cli(*command, "4").code == 0
    path = tmp_path / "grown" / "A+B+C" / "trajectory.h5"
    with h5py.File(path, "r+") as file:
        file["samples/steps_done"][1] = 0
        file["images"][1] = 77
    grown = cli(*command, "6", "--resume", "--json")
    assert json.loads(grown.out)["resumed"] == 3, grown.error
    pack(path, tmp_path / "packed.h5", Packing("gzip"))
    (tmp_path / "packed.h5").replace(path)
    grown = cli(*command, "7", "--resume", "--json")
    assert json.loads(grown.out)["resumed"] == 6, grown.error
    assert cli(*command[:-3], "--output", tmp_path / "alone", "--total-videos", "7").code == 0
    with Trajectory(path) as one, Trajectory(tmp_path / "alone" / "A+B+C" / "trajectory.h5") as other:
        for name, dataset in one.datasets().items():
            assert dataset[...].tobytes() == other.field(name)[...].tobytes(), name


def test_workers_grow_one_by_one_and_agree_on_the_run(cli, tmp_path):
    command = (*RUN, "--sink", "hdf5", "--sink", "metadata", "--output", tmp_path / "shared", "--world-size", "2")
    inside = tmp_path / "shared" / "A+B+C"
    for rank in "01":
        assert cli(*command, "--rank", rank, "--total-videos", "4").code == 0
    ids = {json.loads(path.read_text())["run_id"] for path in inside.glob("metadata-*.json")}
    assert len(ids) == 1
    merge(worker_files(inside), inside / "trajectory.h5")
    assert cli(*command, "--rank", "0", "--total-videos", "5", "--resume").code == 0
    with pytest.raises(TrajectoryError, match="total_videos"):
        merge(worker_files(inside), inside / "trajectory.h5", overwrite=True)
    assert cli(*command, "--rank", "1", "--total-videos", "5", "--resume").code == 0  # of which it has two as before
    assert merge(worker_files(inside), inside / "trajectory.h5", overwrite=True) == 5
    assert {json.loads(path.read_text())["run_id"] for path in inside.glob("metadata-*.json")} == ids
    assert cli(*RUN, "--sink", "hdf5", "--output", tmp_path / "alone", "--total-videos", "5").code == 0
    assert rows(inside / "trajectory.h5") == rows(tmp_path / "alone" / "A+B+C" / "trajectory.h5")

    (inside / "metadata-0001-of-0002.json").unlink()
    assert cli(*command, "--rank", "1", "--total-videos", "5", "--resume").code == 0
    assert {json.loads(path.read_text())["run_id"] for path in inside.glob("metadata-*.json")} == ids


def test_a_file_that_cannot_grow_is_as_it_was(cli, tmp_path, monkeypatch):
    command = (*RUN, "--sink", "hdf5", "--output", tmp_path, "--total-videos")
    assert cli(*command, "4").code == 0
    path = tmp_path / "A+B+C" / "trajectory.h5"
    before = path.read_bytes()

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as full:
        full.setattr(creation.shutil, "disk_usage", lambda _: usage)
        refused = cli(*command, "8", "--resume")
    assert refused.code == 7
    assert "MB are free" in refused.error

    def killed(*_):
        raise OutputError("no more")

    with monkeypatch.context() as broken:
        broken.setattr(creation, "publish", killed)
        assert cli(*command, "8", "--resume").code == 7
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["trajectory.h5"]

    for strange in ("plugins/strange/data", "notes"):
        with h5py.File(path, "r+") as file:
            file[strange] = np.arange(4)
        refused = cli(*command, "8", "--resume")
        assert refused.code == 7
        assert f"holds {strange.removesuffix('/data')}, and what of it belongs to which sample only" in refused.error
        with h5py.File(path, "r+") as file:
            del file[strange.removesuffix("/data")]


def test_a_file_that_another_run_has_grown_meanwhile_is_not_replaced(tmp_path, make_run, monkeypatch):
    large = make_run(samples=4)
    path = make_run(samples=2).record(tmp_path / "t.h5")

    def another(*_):
        """A whole run between our look at the file and our lock."""
        monkeypatch.undo()
        writer, _ = TrajectoryWriter.resume(path, large.header)
        writer.commit([2], large.data([2]))
        writer.close()

    monkeypatch.setattr(writing, "require_same_run", another)
    with pytest.raises(OutputError, match="replaced by another run"):
        TrajectoryWriter.resume(path, large.header)
    with Trajectory(path) as trajectory:
        assert trajectory.committed == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["t.h5"]


def test_what_was_made_elsewhere_is_said(cli, tmp_path):
    command = (*RUN, "--sink", "hdf5", "--output", tmp_path, "--total-videos")
    assert cli(*command, "1").code == 0
    for count, threads in (("2", "1"), ("3", "2"), ("4", "2")):
        assert cli(*command, count, "--resume", "--threads", threads).code == 0
    with Trajectory(tmp_path / "A+B+C" / "trajectory.h5") as trajectory:
        assert trajectory.environment["threads"] == 2
        assert {said["threads"] for said in trajectory.environment["earlier"]} >= {1}
        assert len(trajectory.environment["earlier"]) <= 2
