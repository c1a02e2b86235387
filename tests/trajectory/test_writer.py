"""What a writer promises: nothing but whole files, committed samples that stay, and a refusal for everything else."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import h5py
import numpy as np
import pytest

from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff_trajectory import creation, schema, tree
from emnist_diff_trajectory import writer as writing
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.rows import RowFile
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((1, 4, 4), None), ((3, 4, 5), None), ((16,), (1, 2, 3)), ((4, 2, 2), (3, 8, 8))]
)
def test_what_is_committed_is_read_back_to_the_bit(tmp_path, make_run, shape, image_shape):
    run = make_run(shape=shape, image_shape=image_shape)
    path = run.record(tmp_path / "t.h5", [[3, 4], [2, 0], [1]])  # consecutive, backwards with a gap, alone
    assert verify(path) == []
    with Trajectory(path) as t:
        expected = run.data(range(5))
        assert t.datasets().keys() == expected.keys()
        for name, values in expected.items():
            assert t.field(name).dtype == values.dtype
            assert t.field(name)[...].tobytes() == values.tobytes(), name
        assert t.config == run.header.config
        assert t.environment == run.header.environment
        assert t.classes == ("A", "é")
        assert np.array_equal(t.seeds, run.header.seeds)
        assert np.array_equal(t.timestep, run.header.timeline.timestep)


def test_equal_runs_make_equal_bytes_however_they_were_cut(tmp_path, a_run):
    whole = a_run.record(tmp_path / "whole.h5").read_bytes()
    part = a_run.record(tmp_path / "part.h5", [[1, 2]])
    writer, committed = TrajectoryWriter.resume(part, a_run.header)
    assert committed == {1, 2}
    writer.commit([0, 3, 4], a_run.data([0, 3, 4]))
    writer.close()
    assert part.read_bytes() == whole


def test_a_new_file_has_all_its_bytes_and_nothing_committed(tmp_path, a_run):
    path = a_run.record(tmp_path / "t.h5", [])
    with h5py.File(path) as file:
        assert file["samples/steps_done"][...].tolist() == [0] * 5
        for name in a_run.data([0]):
            plist = file[name].id.get_create_plist()
            assert plist.get_layout() == h5py.h5d.CONTIGUOUS
            assert file[name].id.get_offset() is not None
            assert plist.get_fill_time() == h5py.h5d.FILL_TIME_NEVER
    assert os.stat(path).st_blocks * 512 >= path.stat().st_size  # no holes that a full disk could fail to fill


def test_commits_change_nothing_but_the_bytes_of_datasets(tmp_path, a_run):
    path = a_run.record(tmp_path / "t.h5", [])
    before = np.frombuffer(path.read_bytes(), np.uint8).copy()
    writer, _ = TrajectoryWriter.resume(path, a_run.header)
    writer.commit(range(5), a_run.data(range(5)))
    after = np.frombuffer(path.read_bytes(), np.uint8).copy()  # while still open: a kill leaves just this
    writer.close()
    assert len(before) == len(after)
    assert before[8] == 0  # superblock version 0, which HDF5 opens although bytes 20 … 23 say that somebody else has it
    after[20:24] = before[20:24]
    with h5py.File(path) as file:
        for name in [*a_run.data([0]), "samples/steps_done"]:
            start = file[name].id.get_offset()
            for content in (before, after):
                content[start : start + file[name].nbytes] = 0
    assert np.array_equal(before, after)


class Disk:
    """Counts what a writer asks of the system, and refuses the n-th."""

    def __init__(self, monkeypatch, refused: int = 0):
        self.log, self.refused = [], refused
        write, sync = RowFile.write, RowFile.sync
        monkeypatch.setattr(RowFile, "write", lambda f, name, *rest: (self.ask(name), write(f, name, *rest))[1])
        monkeypatch.setattr(RowFile, "sync", lambda f: (self.ask("sync"), sync(f))[1])

    def ask(self, what):
        self.log.append(what)
        if len(self.log) == self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("refused", range(1, 12))
@pytest.mark.parametrize("fsync", [True, False])
def test_a_disk_that_refuses_leaves_the_marker_unset_and_earlier_commits_whole(
    tmp_path, a_run, monkeypatch, fsync, refused
):
    """A commit writes eight datasets, waits, marks, waits; without fsync there is one wait at the end, for all."""
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, attrs.evolve(a_run.header, fsync=fsync))
    writer.commit([0, 1], a_run.data([0, 1]))
    disk = Disk(monkeypatch, refused)
    error = None
    try:
        writer.commit([2, 3], a_run.data([2, 3]))
        writer.close()
    except OutputError as refusal:
        error = str(refusal)
    writer.close()
    assert verify(path) == []
    with Trajectory(path) as t:
        done = t.committed
    if not fsync and refused == 11:
        assert (error, done) == (None, [0, 1, 2, 3])
        return
    safe = writing._COMMITTED_SAFE.format(remedy="make room")
    assert error == f"cannot write {path}: No space left on device — {safe}"
    assert done == ([] if not fsync and disk.log[refused - 1] == "sync" else [0, 1])


def test_data_are_on_the_disk_before_their_marker(tmp_path, a_run, monkeypatch):
    writer = TrajectoryWriter.create(tmp_path / "t.h5", a_run.header)
    disk = Disk(monkeypatch)
    writer.commit([0], a_run.data([0]))
    writer.close()
    assert disk.log == [*a_run.data([0]), "sync", writing.MARKERS, "sync"]


def test_a_commit_that_is_not_exactly_the_layout_marks_nothing(tmp_path, a_run):
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, a_run.header)
    good = a_run.data([0, 1])
    for bad, complaint in (
        ({k: v for k, v in good.items() if k != "trajectory/x0"}, "lacks trajectory/x0"),
        (good | {"trajectory/x": good["trajectory/x"][:, :-1]}, "trajectory/x has rows"),
        (good | {"trajectory/velocity": good["trajectory/x"]}, "which the file does not"),
    ):
        with pytest.raises(ValueError, match=complaint):
            writer.commit([0, 1], bad)
    writer.close()
    with Trajectory(path) as t:
        assert t.committed == []


def test_values_beyond_float16_are_refused(tmp_path, a_run):
    writer = TrajectoryWriter.create(tmp_path / "t.h5", a_run.header, Capture(frozenset({"x"}), "float16"))
    data = a_run.data([0], frozenset({"x"}))
    data["trajectory/x"][0, 0] = 1e6
    with pytest.raises(OutputError, match="beyond float16 — record float32"):
        writer.commit([0], data)
    writer.close()


def test_images_of_two_channels_are_refused_before_any_work(tmp_path, make_run):
    with pytest.raises(OutputError, match="2 channels"):
        make_run(image_shape=(2, 4, 4)).record(tmp_path / "t.h5")


@pytest.mark.parametrize("how", ["resume", "overwrite"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "other process"])
def test_a_second_writer_is_refused_while_the_first_is_at_work(tmp_path, a_run, how, elsewhere):
    path = tmp_path / "t.h5"
    command = [sys.executable, "-c", f"import h5py; f = h5py.File({str(path)!r}, 'r+'); print(flush=True); input()"]
    other = None
    if elsewhere:
        a_run.record(path, [[0]])
        other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        other.stdout.readline()
    else:
        first = TrajectoryWriter.create(path, a_run.header)
    before = path.stat().st_ino
    again = {
        "resume": lambda: TrajectoryWriter.resume(path, a_run.header),
        "overwrite": lambda: TrajectoryWriter.create(path, a_run.header, overwrite=True),
    }
    with pytest.raises(OutputError, match=r"t\.h5 is in use by another run"):
        again[how]()
    assert path.stat().st_ino == before
    if other:
        other.communicate(b"\n")
    else:
        first.commit([0], a_run.data([0]))
        first.close()
    TrajectoryWriter.resume(path, a_run.header)[0].close()


def test_a_file_that_appears_during_creation_is_not_replaced(tmp_path, a_run, monkeypatch):
    path = tmp_path / "t.h5"
    monkeypatch.setattr(creation, "allocate", lambda file, size=0: (file.touch(), path.write_text("theirs")))
    with pytest.raises(OutputError, match="already exists"):
        TrajectoryWriter.create(path, a_run.header)
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"config": {"seed": 8, "total_videos": 5}}, f"seed: {2**64 - 1} there, 8 here"),
        ({"seeds": np.zeros(5, np.uint64)}, "other seeds"),
        ({"labels": np.zeros(5, np.int64)}, "other labels"),
        ({"classes": ("A", "B")}, "other class names"),
        ({"sample_ids": np.arange(6)}, "other sample ids: 5 ×.*6 ×"),
        ({"shape": (1, 4, 5)}, r"drifts/00_walk/delta is .*\(5, 4, 1, 4, 4\).*there"),
        ({"forces": ("push0", "pull")}, "forces/01_pull/contribution is missing there"),
        ({"forces": ("push0",)}, "forces/01_push1/contribution is .*not asked for here"),
    ],
)
def test_resuming_is_refused_by_what_differs_and_changes_nothing(tmp_path, a_run, change, complaint):
    path = a_run.record(tmp_path / "t.h5", [[0]])
    before = path.read_bytes()
    with pytest.raises(TrajectoryError, match=complaint):
        TrajectoryWriter.resume(path, attrs.evolve(a_run.header, **change))
    assert path.read_bytes() == before


def test_resuming_with_fewer_fields_is_refused(tmp_path, a_run):
    """Its commits would mark samples whose other fields nobody wrote."""
    path = a_run.record(tmp_path / "t.h5", [[0]])
    with pytest.raises(TrajectoryError, match="other fields"):
        TrajectoryWriter.resume(path, a_run.header, Capture(frozenset({"x"})))


def test_resuming_where_nothing_is_starts_anew(tmp_path, a_run):
    writer, committed = TrajectoryWriter.resume(tmp_path / "new" / "t.h5", a_run.header)
    writer.close()
    assert committed == frozenset()
    assert verify(tmp_path / "new" / "t.h5") == []


def test_too_little_space_is_said_in_bytes_and_leaves_nothing(tmp_path, a_run, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9_000_000, 8_000_000, 1_000_000))
    with pytest.raises(OutputError, match=r"needs 1 MB, 1 MB are free"):
        a_run.record(tmp_path / "t.h5")
    assert not list(tmp_path.iterdir())


LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np
from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff.timeline import Timeline
from emnist_diff_trajectory.writer import TrajectoryWriter

a = np.full(4, 0.5)
header = RunHeader(Path(), {}, {}, Timeline(a, a, a), (1, 64, 64), (1, 64, 64), np.arange(9), np.zeros(9, np.int64),
                   np.zeros(9, np.uint64), ("A",), (), (), np.zeros((0, 4)))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    TrajectoryWriter.create(Path(sys.argv[1]), header)
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits as Linux has them")
@pytest.mark.parametrize("limit", [1_000, 10_000, 500_000])
def test_a_system_that_refuses_the_bytes_does_so_at_creation(tmp_path, limit):
    """The file needs 2.4 MB; the limits fall into its metadata and into its data."""
    path = tmp_path / "t.h5"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, path, str(limit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cannot write {path}: File too large — allow larger files (ulimit -f), or choose")
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_full_disk_shows_at_creation_even_when_the_system_promised_room(tmp_path, a_run, make_run, monkeypatch):
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, 1 << 40))
        with pytest.raises(OutputError, match="No space left on device"):
            make_run(samples=20, shape=(1, 64, 64)).record(tmp_path / "big.h5")
        assert not list(tmp_path.iterdir())
        assert verify(a_run.record(tmp_path / "small.h5")) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["cannot write", "cannot even look"])
def test_a_directory_without_permission_is_an_error(a_run, mode):
    with tempfile.TemporaryDirectory() as folder:  # tmp_path hides behind private parents
        inside = Path(folder) / "run"
        inside.mkdir()
        os.chmod(folder, 0o755)
        root = os.geteuid() == 0
        inside.chmod(mode if root else 0o500)
        if root:
            os.seteuid(65534)
        try:
            for attempt in (a_run.record, lambda p: TrajectoryWriter.resume(p, a_run.header)):
                with pytest.raises(OutputError, match=r"cannot write .*t\.h5: Permission denied"):
                    attempt(inside / "t.h5")
        finally:
            if root:
                os.seteuid(0)
            inside.chmod(0o755)
        assert not list(inside.iterdir())


@pytest.mark.parametrize("what", ["samples", "steps"])
def test_what_no_reader_would_accept_is_not_written(tmp_path, a_run, monkeypatch, what):
    """The bounds are lowered: a list of four million entries takes a while."""
    for module in (writing, tree):
        monkeypatch.setattr(module, "MOST_SAMPLES", 5 if what == "steps" else 4)
        monkeypatch.setattr(module, "MOST_STEPS", 3 if what == "steps" else 4)
    monkeypatch.setattr(writing, "arrays", lambda *_: pytest.fail("lists were built before the check"))
    count, most = (5, 4) if what == "samples" else (4, 3)
    with pytest.raises(OutputError, match=f"would hold {count} {what}, a file holds at most {most} — make"):
        TrajectoryWriter.create(tmp_path / "t.h5", a_run.header)
    assert not list(tmp_path.iterdir())


def test_readers_and_writers_share_their_bounds(tmp_path, a_run, monkeypatch):
    path = a_run.record(tmp_path / "t.h5")
    Trajectory(path).close()
    monkeypatch.setattr(tree, "MOST_SAMPLES", 4)
    monkeypatch.setattr(tree, "MOST_STEPS", 4)
    with pytest.raises(TrajectoryError, match="no list of"):
        Trajectory(path)
    assert schema.MOST_SAMPLES == schema.MOST_STEPS == 2**22
