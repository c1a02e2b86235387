"""Nothing finished is lost, nothing is overwritten unasked, and what cannot be done is said in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from structlog.testing import capture_logs

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, OutputError, RunFailed, TrajectoryError
from emnist_diff_plugins.earlier import Earlier
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.reviews.resuming import as_before
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.select import select
from emnist_diff_trajectory.temporary import host

resource = pytest.importorskip("resource")

PER_SAMPLE = ("images", "frames", "deltas", "latents", "strip", "npz", "metadata", {"name": "video", "format": "gif"})
SMALL = (
    *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB", "--total-videos", "3", "--steps", "4"),
    *("--batch-size", "1", "--no-progress"),
)


def ages(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("v*") if p.is_file()}


def test_a_resumed_run_makes_only_what_is_missing(work, tmp_path: Path):
    output = work.run(tmp_path, ["hdf5", *PER_SAMPLE])
    before, old = work.files(output), ages(output)
    started = json.loads(before["metadata.json"])["run_id"]
    (output / "frames/v001_f0002.png").unlink()
    (output / "videos/v001.gif").write_bytes(b"")  # as a power cut leaves it
    (output / f"frames/.v001_f0003.png.{host()}.999999999.0-0.tmp").write_bytes(b"half")  # as a kill leaves it

    assert work.run(tmp_path, ["hdf5", *PER_SAMPLE], resume=True) == output
    after = work.files(output)
    for name in ("metadata.json", "index.json"):
        assert json.loads(after.pop(name))["run_id"] == started
        before.pop(name)
    assert after == before
    rewritten = {name for name, age in ages(output).items() if age != old.get(name)}
    assert rewritten == {f"frames/v001_f{i:04d}.png" for i in range(6)} | {"videos/v001.gif"}
    assert not list(output.rglob("*.tmp"))


@pytest.mark.parametrize("recorder", ["hdf5", "frames"])
def test_an_index_that_a_kill_left_behind_is_whole_after_resuming(work, tmp_path: Path, recorder: str):
    output = work.run(tmp_path, [recorder, "metadata"])
    whole = json.loads((output / "index.json").read_bytes())
    (output / "index.json").write_text(json.dumps({**whole, "videos": whole["videos"][:1]}))  # it is not written always
    work.run(tmp_path, [recorder, "metadata"], resume=True)
    assert json.loads((output / "index.json").read_bytes()) == whole


@pytest.mark.parametrize("spoilt", [{"run_id": "\ud800"}, {"config": {"seed": float("nan")}}])
def test_metadata_that_holds_what_nothing_could_write_is_of_another_run(work, tmp_path: Path, spoilt: dict):
    output = work.run(tmp_path, ["metadata"])
    known = json.loads((output / "metadata.json").read_bytes())
    (output / "metadata.json").write_text(json.dumps(known | spoilt))
    with pytest.raises(OutputError, match="belongs to another run"):
        work.run(tmp_path, ["metadata"], resume=True)


def test_settings_of_a_backend_that_are_no_table_count_for_nothing(tmp_path: Path):
    settings, _ = configure(
        installed(), {"denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "AB"}}
    )
    before = {"config": {"backend": {"name": "eager", "settings": [1]}}}
    (tmp_path / "metadata.json").write_text(json.dumps(before))
    chosen = as_before(settings, tmp_path, Earlier.of(installed())).backend
    assert (chosen.name, chosen.settings) == ("eager", {})


def test_an_index_of_another_form_counts_for_nothing(work, tmp_path: Path):
    output = work.run(tmp_path, ["hdf5", "metadata"])
    whole = json.loads((output / "index.json").read_bytes())
    for videos in (3, [{"id": []}]):
        (output / "index.json").write_text(json.dumps({**whole, "videos": videos}))
        work.run(tmp_path, ["hdf5", "metadata"], resume=True)
        assert json.loads((output / "index.json").read_bytes()) == whole


def test_a_sink_that_joins_later_takes_from_the_trajectory_what_is_there(
    work, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = work.run(tmp_path, ["hdf5"])
    held = (output / "trajectory.h5").read_bytes()
    with h5py.File(output / "trajectory.h5", "r+") as file:
        file["samples/steps_done"][2] = 0
        file["trajectory/x"][2] = 0
    walked: list[int] = []
    from emnist_diff.running import run

    walk = run.walk
    monkeypatch.setattr(
        run, "walk", lambda engine, batch, wants: walked.extend(batch.positions) or walk(engine, batch, wants)
    )
    work.run(tmp_path, ["hdf5", *work.all[:-2]], resume=True)
    assert walked == [2]
    assert (output / "trajectory.h5").read_bytes() == held
    live = work.files(recorded)
    assert {name: data for name, data in work.files(output).items() if "/" in name} == {
        name: data for name, data in live.items() if "/" in name
    }


def test_the_trajectory_may_have_any_name(work, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    named = {"name": "hdf5", "filename": "everything.h5"}
    output = work.run(tmp_path, [named])
    (output / "a.h5").write_bytes(b"no trajectory")
    other = work.run(tmp_path / "other", ["hdf5"], seed=2) / "trajectory.h5"
    (output / "trajectory.h5").write_bytes(other.read_bytes())
    with Trajectory(output / "everything.h5") as whole:
        select(whole, np.array([1, 2]), output / "b.h5")  # the same run, but of other samples
    from emnist_diff.running import run

    monkeypatch.setattr(run, "walk", lambda *arguments: pytest.fail("walked what was there"))
    work.run(tmp_path, [named, *work.all[:-2], "metrics", "grid"], resume=True)
    live, made = work.files(recorded), work.files(output)
    of_samples = {name: data for name, data in live.items() if "/" in name}
    assert {name: made.get(name) for name in of_samples} == of_samples
    assert {name: made[name] for name in ("samples.png", "strips.png")} == {
        name: live[name] for name in ("samples.png", "strips.png")
    }
    assert made["metrics/video_metrics.csv"].count(b"\n") == 1 + 3


def test_a_rounded_trajectory_is_no_source_for_a_sink_that_joins_later(work, recorded: Path, tmp_path: Path):
    rounded = {"name": "hdf5", "dtype": "float16"}
    work.run(tmp_path, [rounded])
    output = work.run(tmp_path, [rounded, "latents"], resume=True)
    live = work.files(recorded)
    latents = {name: data for name, data in work.files(output).items() if name.startswith("latents/")}
    assert latents == {name: data for name, data in live.items() if name.startswith("latents/")}


def test_nothing_is_overwritten_unasked(work, trajectory_file: Path, tmp_path: Path):
    for sink, name in (("npz", "npz"), ("grid", "samples.png"), ("metadata", "metadata.json")):
        work.export(trajectory_file, tmp_path, sink)
        before = work.files(tmp_path)
        with pytest.raises(OutputError, match=rf"{name} already .*--resume.*--overwrite"):
            work.export(trajectory_file, tmp_path, sink)
        assert work.files(tmp_path) == before
        assert work.export(trajectory_file, tmp_path, sink, overwrite=True) == 3


def test_overwriting_leaves_nothing_of_what_was_there(work, trajectory_file: Path, tmp_path: Path):
    work.export(trajectory_file, tmp_path, {"name": "frames", "format": "jpg"})
    (tmp_path / "frames/v017_f0000.png").write_bytes(b"of an earlier, larger run")
    (tmp_path / "frames/notes.txt").write_bytes(b"mine")
    work.export(trajectory_file, tmp_path, "frames", overwrite=True)
    there = {path.name for path in (tmp_path / "frames").iterdir() if not path.name.startswith(".")}
    assert there == {f"v{s:03d}_f{i:04d}.png" for s in range(3) for i in range(6)} | {"notes.txt"}


def test_a_folder_belongs_to_one_run_and_one_choice_of_settings(work, trajectory_file: Path, tmp_path: Path):
    work.export(trajectory_file, tmp_path, "deltas")
    with pytest.raises(OutputError, match=r"other settings \(upscale: 1 there, 2 here\)"):
        work.export(trajectory_file, tmp_path, {"name": "deltas", "upscale": 2}, resume=True)
    other = work.run(tmp_path / "other", ["hdf5"], seed=5) / "trajectory.h5"
    for sink in ("deltas", "metadata"):
        work.export(trajectory_file, tmp_path, sink, overwrite=True)
        with pytest.raises(OutputError, match="belongs to another run"):
            work.export(other, tmp_path, sink, resume=True)


def test_two_writers_never_share_a_folder(work, trajectory_file: Path, tmp_path: Path):
    from emnist_diff_trajectory.lock import WriterLock

    work.export(trajectory_file, tmp_path, "npz")
    lock = WriterLock(tmp_path / "npz/.run.json")
    try:
        with pytest.raises(OutputError, match=r"in use by another run"):
            work.export(trajectory_file, tmp_path, "npz", overwrite=True)
    finally:
        lock.release()
    assert len(work.files(tmp_path)) == 3


def test_workers_share_a_folder(work, recorded: Path, tmp_path: Path):
    sinks = ["hdf5", "images", "frames", "npz", "grid", "metadata"]
    for rank in (0, 1):
        output = work.run(tmp_path, sinks, rank=rank, world_size=2)
    alone = {
        name: data for name, data in work.files(recorded).items() if name.startswith(("images/", "frames/", "npz/"))
    }
    both = work.files(output)
    assert {name: data for name, data in both.items() if "/" in name} == alone
    ids = [[v["id"] for v in json.loads(both[f"index-000{rank}-of-0002.json"])["videos"]] for rank in (0, 1)]
    assert ids == [[0, 2], [1]]
    assert "samples-0001-of-0002.png" in both


BROKEN = """
import attrs
from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import SinkSpec

@hookimpl
def emnist_diff_sinks():
    yield SinkSpec(name="brittle", factory="{module}:Brittle", summary="breaks at the second batch")

@attrs.define(eq=False)
class Brittle:
    seen: int = 0
    def wants(self, at): return frozenset()
    def open(self, header): return None
    def write(self, frame): pass
    def commit(self, batch):
        self.seen += 1
        if self.seen == 2: raise RuntimeError("enough")
    def close(self, outcome): pass
"""


def test_committed_samples_survive_the_failure_of_another_sink(cli, work, tmp_path: Path):
    plugin = tmp_path / "brittle_sink_plugin.py"
    plugin.write_text(BROKEN.format(module=plugin.stem))
    failed = cli(
        *SMALL, "--output", tmp_path, "--plugin-file", plugin, "--sink", "brittle", "--sink", "hdf5", "--sink", "frames"
    )
    assert (failed.code, "sink Brittle failed to commit: RuntimeError: enough" in failed.error) == (6, True)
    with Trajectory(tmp_path / "A/trajectory.h5") as trajectory:
        assert trajectory.committed == [0]
    assert {Path(name).name for name in work.files(tmp_path / "A/frames")} == {f"v000_f{i:04d}.png" for i in range(5)}


def test_a_kill_leaves_whole_files_of_whole_samples(work, tmp_path: Path):
    """The process is killed as soon as there is something to lose, and again while it resumes."""
    sinks = ["hdf5", "frames", "npz"]
    folder = tmp_path / "A+B"
    asked = {**work.settings, "output": str(tmp_path), "sinks": sinks, "total_videos": 400, "batch_size": 1}
    (tmp_path / "run.json").write_text(json.dumps(asked))
    command = [sys.executable, "-m", "emnist_diff", "run", "--config", str(tmp_path / "run.json")]
    for number in (1, 2):
        child = subprocess.Popen(
            [*command, *(["--resume"] if number > 1 else [])],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(list(folder.glob("npz/v*.npz"))) < 20 * number:
            assert child.poll() is None, "the run ended before it could be killed"
            time.sleep(0.001)
        child.kill()
        child.wait()
        for path in folder.glob("npz/v*.npz"):
            with np.load(path) as data:
                assert data["x"].shape == (6, 1, 6, 5)
        with Trajectory(folder / "trajectory.h5") as trajectory:
            done = len(trajectory.committed)
        assert done < 400
        for pattern in ("npz/v*.npz", "frames/v*_f0005.png"):
            assert done - 1 <= len(list(folder.glob(pattern))) <= done  # the trajectory is first
    work.run(tmp_path, sinks, resume=True, total_videos=400)
    whole = work.files(work.run(tmp_path / "whole", sinks, total_videos=400))
    found = work.files(folder)
    del whole["trajectory.h5"], found["trajectory.h5"]
    assert found == whole
    assert not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize("sink", ["frames", "npz", "metadata", "grid", {"name": "video", "format": "gif"}])
def test_a_full_disk_is_one_line(sink, work, trajectory_file: Path, tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # Python turns the signal into an error
    try:
        with capture_logs(), pytest.raises(OutputError, match=r"cannot write .*: File too large"):
            work.export(trajectory_file, tmp_path, sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert work.files(tmp_path) == {}
    assert not list(tmp_path.rglob("*.tmp"))
    assert work.export(trajectory_file, tmp_path, sink) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_one_line(work, trajectory_file: Path, tmp_path: Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"cannot write .*: Permission denied"):
            work.export(trajectory_file, tmp_path, "frames")
    finally:
        tmp_path.chmod(0o700)


def test_a_file_where_the_directory_should_be_is_one_line(work, trajectory_file: Path, tmp_path: Path):
    (tmp_path / "frames").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*frames: File exists"):
        work.export(trajectory_file, tmp_path, "frames")


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ({"name": "video", "codec": "nope"}, "no video encoder 'nope' — use codec=libx264"),
        ({"name": "video", "codec": "aac"}, "no video encoder 'aac'"),
        ({"name": "video", "pixel_format": "yuv420"}, "takes no pixel format 'yuv420' — use yuv420p"),
        ({"name": "video", "codec": "prores", "pixel_format": "yuv420p"}, "prores"),
        ({"name": "video", "format": "avi"}, "'format' must be in"),
        ({"name": "video", "format": "gif", "fps": 60}, "a gif shows at most 50 frames a second, not 60"),
        ({"name": "video", "fps": 0}, "'fps' must be >= 1"),
        ({"name": "video", "fps": 29.97}, "expected a whole number, got 29.97"),
        ({"name": "video", "upscale": 0}, "'upscale' must be >= 1"),
        ({"name": "frames", "upscale": 257}, "'upscale' must be <= 256"),
        ({"name": "frames", "every": 0}, "'every' must be >= 1"),
        ({"name": "frames", "format": "bmp"}, "'format' must be in"),
        ({"name": "frames", "samples": [-1]}, "samples must be ids, 0 or more"),
        ({"name": "latents", "format": "mat"}, "'format' must be in"),
        ({"name": "npz", "fields": ["y"]}, "'fields' must be in"),
    ],
)
def test_bad_settings_are_refused_before_any_work(sink, message: str, work, trajectory_file: Path, tmp_path: Path):
    with pytest.raises(ConfigError) as refused:
        work.export(trajectory_file, tmp_path, sink)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert work.files(tmp_path) == {}


def test_bad_settings_cost_nothing_that_was_to_be_overwritten(cli, tmp_path: Path):
    assert cli(*SMALL, "--output", tmp_path).code == 0
    held = (tmp_path / "A/trajectory.h5").read_bytes()
    wrong = cli(*SMALL, "--output", tmp_path, "--overwrite", "--sink", "hdf5", "--sink", "video:codec=nope")
    assert (wrong.code, "sink 'video': no video encoder 'nope'" in wrong.error) == (2, True)
    assert (tmp_path / "A/trajectory.h5").read_bytes() == held


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, work, trajectory_file: Path, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r'mp4 needs PyAV.* pip install "emnist-diff\[video\]", or use format=gif'):
        work.export(trajectory_file, tmp_path, "video")
    assert work.export(trajectory_file, tmp_path, {"name": "video", "format": "gif"}) == 3


def test_what_the_file_does_not_hold_is_named(work, tmp_path: Path):
    file = work.run(tmp_path, [{"name": "hdf5", "fields": ["x", "base"]}]) / "trajectory.h5"
    with pytest.raises(ConfigError, match=r"sink 'strip' asks for x0, which .* does not hold; it has x, base"):
        work.export(file, tmp_path, "strip")
    assert work.export(file, tmp_path, {"name": "strip", "estimates": False}) == 3


def test_a_file_that_keeps_a_part_gives_that_part(work, tmp_path: Path):
    sparse = work.run(tmp_path, [{"name": "hdf5", "every": 2, "samples": [0, 2]}]) / "trajectory.h5"
    assert work.export(sparse, tmp_path, "frames", "npz") == 2
    names = {f"frames/v{s:03d}_f{i:04d}.png" for s in (0, 2) for i in (0, 2, 4, 5)}
    assert {name for name in work.files(tmp_path) if name.startswith("frames")} == names
    full = work.run(tmp_path / "full", ["frames"])
    for name in names:
        assert work.files(tmp_path)[name] == work.files(full)[name]


def test_latents_are_shown_by_the_decoder_of_their_checkpoint(work, latent_checkpoint: Path, tmp_path: Path):
    live = work.run(
        tmp_path, ["hdf5", "frames", "strip"], denoiser=None, checkpoint=str(latent_checkpoint), forces=[], drifts=[]
    )
    file = live / "trajectory.h5"
    copy = shutil.copy(latent_checkpoint, tmp_path / "copy.safetensors")
    work.export(file, tmp_path / "y", "frames", "strip", checkpoint=copy)
    exported = work.files(tmp_path / "y")
    assert exported == {name: data for name, data in work.files(live).items() if name in exported}
    assert len(exported) == 3 * 6 + 3


def test_an_unfinished_file_gives_its_finished_samples(work, trajectory_file: Path, tmp_path: Path):
    file = tmp_path / "trajectory.h5"
    file.write_bytes(trajectory_file.read_bytes())
    with h5py.File(file, "r+") as data:
        data["samples/steps_done"][1] = 0
    assert work.export(file, tmp_path, "npz") == 2
    assert set(work.files(tmp_path / "npz")) == {"v000.npz", "v002.npz"}
    with h5py.File(file, "r+") as data:
        data["samples/steps_done"][...] = 0
    with pytest.raises(OutputError, match="no committed sample to export"):
        work.export(file, tmp_path / "none", "npz")


def _nan(file: h5py.File) -> None:
    file["trajectory/x"][1, 2] = np.nan


def _twins(file: h5py.File) -> None:
    file["samples/id"][1] = 0


def _names(file: h5py.File) -> None:
    del file["images"]
    file["images"] = np.zeros((3, 6, 5), "S3")


def _large(file: h5py.File) -> None:
    for name, shape in (("trajectory/x", (3, 6, 1, 20_000, 20_000)), ("images", (3, 20_000, 20_000))):
        kind = file[name].dtype
        del file[name]
        file.create_dataset(name, shape, kind, chunks=(1,) * (len(shape) - 2) + (1000, 1000), compression="gzip")
    for name in ("x0", "prediction", "base"):
        del file[f"trajectory/{name}"]
    del file["forces"], file["drifts"]


@pytest.mark.parametrize("harm", [_nan, _twins, _names, _large])
def test_files_that_mislead_are_refused(harm, work, trajectory_file: Path, tmp_path: Path):
    file = tmp_path / "trajectory.h5"
    file.write_bytes(trajectory_file.read_bytes())
    with h5py.File(file, "r+") as data:
        harm(data)
    with pytest.raises(TrajectoryError, match=r"trajectory\.h5"):
        work.export(file, tmp_path / "out", "frames")
    assert all(len(data) < 10_000 for data in work.files(tmp_path / "out").values())


def test_a_sink_that_breaks_is_named(work, trajectory_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from emnist_diff_plugins.sinks.npz import NpzSink

    monkeypatch.setattr(NpzSink, "take", lambda *a: 1 / 0)
    with pytest.raises(RunFailed, match="sink 'npz' failed: ZeroDivisionError"):
        work.export(trajectory_file, tmp_path, "npz")
