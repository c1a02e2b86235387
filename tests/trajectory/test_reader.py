"""What a reader gives, and what it refuses: no file is trusted."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff_trajectory.reader import Sample, Trajectory
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter


@pytest.fixture
def path(tmp_path, a_run):
    return a_run.record(tmp_path / "t.h5", [[0, 1], [4]])


def test_fields_are_found_by_short_name_path_and_index(path, a_run):
    data = a_run.data([0, 1])
    with Trajectory(path) as t:
        assert len(t) == 5
        assert t.steps == 4
        assert t.committed == [0, 1, 4]
        assert set(t.fields) == {"x", "x0", "prediction", "base", "forces", "drifts"}
        assert t.force_names == ("00_push0", "01_push1")
        assert t.drift_names == ("00_walk",)
        assert np.array_equal(t.field("x", slice(0, 2)), data["trajectory/x"])
        assert np.array_equal(t.field("trajectory/x0", 1), data["trajectory/x0"][1])
        assert np.array_equal(t.contribution(1)[:2], data["forces/01_push1/contribution"])
        assert np.array_equal(t.contribution("00_push0")[:2], data["forces/00_push0/contribution"])
        with pytest.raises(UnknownName, match="did you mean 'trajectory/x0'"):
            t.field("trajectory/x00")
        with pytest.raises(UnknownName, match="has 2 forces"):
            t.contribution(2)


def test_fields_are_only_those_recorded(tmp_path, a_run):
    TrajectoryWriter.create(tmp_path / "t.h5", a_run.header, Capture(frozenset({"x0"}))).close()
    with Trajectory(tmp_path / "t.h5") as t:
        assert t.fields == ("x0",)
        assert t.force_names == ("00_push0", "01_push1")  # their weights are always there


def test_forces_keep_their_order_beyond_a_hundred(tmp_path, make_run):
    run = make_run(samples=1, forces=102)
    with Trajectory(run.record(tmp_path / "t.h5")) as t:
        assert t.force_names[98:] == ("98_push98", "99_push99", "100_push100", "101_push101")
    assert verify(tmp_path / "t.h5") == []


@pytest.mark.parametrize("name", ["x", "images", "forces/01_push1/contribution"])
def test_a_memory_map_equals_what_is_read_and_cannot_be_written(path, name):
    with Trajectory(path) as t:
        mapped = t.mmap(name)
        assert mapped.tobytes() == t.field(name)[...].tobytes()
        with pytest.raises(ValueError, match="read-only"):
            mapped[0] = 0


def test_text_is_never_mapped(path):
    """Its bytes would be taken for addresses of Python objects."""
    with Trajectory(path) as t, pytest.raises(TrajectoryError, match="config is no array of numbers"):
        t.mmap("config")


def test_a_packed_dataset_is_read_but_not_mapped(path, a_run):
    with h5py.File(path, "r+") as file:
        x = file["trajectory/x"][...]
        del file["trajectory/x"]
        file.create_dataset("trajectory/x", data=x, chunks=(1, *x.shape[1:]), compression="gzip")
    with Trajectory(path) as t:
        assert np.array_equal(t.x[:2], a_run.data([0, 1])["trajectory/x"])
        with pytest.raises(TrajectoryError, match="not contiguous"):
            t.mmap("x")
    with pytest.raises(TrajectoryError, match="is packed"):
        TrajectoryWriter.resume(path, a_run.header)


def test_a_file_can_be_read_while_it_is_written(tmp_path, a_run):
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, a_run.header)
    writer.commit([2], a_run.data([2]))
    code = f"from emnist_diff_trajectory.reader import Trajectory; print(Trajectory({str(path)!r}).committed)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout == "[2]\n"
    with Trajectory(path) as t:  # and in the writer's own process
        assert t.committed == [2]
    writer.commit([3], a_run.data([3]))
    writer.close()
    assert verify(path) == []


def test_additions_of_a_newer_minor_version_are_ignored(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = [1, 7]
        file["novelty/field"] = 1
        file["plugins/somebody/else"] = h5py.ExternalLink("/nowhere.h5", "x")
        file["trajectory/velocity"] = file["trajectory/x0"][...]
    assert verify(path) == []
    with Trajectory(path) as t:
        assert t.format_version == (1, 7)


def replaced(file, name, **how):
    del file[name]
    file.create_dataset(name, **how)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: f.attrs.__delitem__("format"), "no emnist-diff trajectory"),
        (lambda f: f.attrs.__setitem__("format", np.arange(3)), "damaged|no emnist-diff trajectory"),
        (lambda f: f.attrs.__setitem__("format_version", [2, 0]), r"format 2\.0.*reads up to 1\.x — upgrade"),
        (lambda f: f.attrs.__setitem__("format_version", [1]), "format_version"),
        (lambda f: f.attrs.__setitem__("format_version", "new"), "damaged"),
        (lambda f: f.attrs.__delitem__("format_version"), "damaged"),
        (lambda f: f.__delitem__("samples/seed"), "samples/seed is missing"),
        (lambda f: f.__delitem__("schedule"), "schedule/step is missing"),
        (lambda f: replaced(f, "config", data=3), "damaged"),
        (lambda f: replaced(f, "config", data="[1"), "damaged"),
        (lambda f: replaced(f, "config", data="[1]"), "config is no JSON table"),
        (lambda f: replaced(f, "config", data="[" * 100_000), "damaged"),
        (lambda f: replaced(f, "environment", data='{"a": 1e999}'), "environment is no JSON table: Out of range"),
        (lambda f: replaced(f, "environment", data=r'{"\ud800": 1}'), "environment is no JSON table.*surrogates"),
        (lambda f: replaced(f, "samples/label", data=np.full(5, 9)), "outside samples/classes"),
        (lambda f: replaced(f, "samples/label", data=np.zeros(4, int)), "4 of 5 entries"),
        (lambda f: replaced(f, "samples/id", data=["a"]), "no list of whole numbers"),
        (lambda f: replaced(f, "samples/id", data=np.zeros(0, int)), "no steps or no samples"),
        (lambda f: replaced(f, "samples/id", shape=(1 << 40,), chunks=(1,), dtype="i8"), "chunks of 8 bytes"),
        (lambda f: replaced(f, "schedule/alpha_bar", data=np.ones(3)), "schedule/alpha_bar has 3 of 4"),
        (lambda f: replaced(f, "schedule/step", shape=(1 << 40,), chunks=(1,), dtype="i8"), "chunks of 8 bytes"),
        (lambda f: replaced(f, "samples/label", data=np.full(5, np.nan)), "samples/label is no list of whole numbers"),
        (lambda f: replaced(f, "samples/classes", data="AB"), "samples/classes is no list of texts"),
        (lambda f: replaced(f, "images", data=h5py.Empty("u1")), "images is empty"),
        (lambda f: replaced(f, "trajectory", data=1), "trajectory is no group"),
        (lambda f: f["trajectory"].create_dataset("x\n\x1b[2J", data=1), r"no name may be 'x\\n\\x1b\[2J'"),
        (lambda f: replaced(f, "samples/classes", data=np.arange(2)), "damaged"),
        (
            lambda f: replaced(f, "trajectory/x", shape=(2,), dtype="f4", external=[("/etc/passwd", 0, 8)]),
            "another file, which is not followed",
        ),
    ],
)
def test_a_spoilt_file_is_refused_in_one_line_that_names_it(path, spoil, complaint):
    with h5py.File(path, "r+") as file:
        spoil(file)
    for refuse in (Trajectory, verify):
        with pytest.raises(TrajectoryError, match=complaint) as caught:
            refuse(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_virtual_data_is_not_followed(path):
    layout = h5py.VirtualLayout((5, 4, 1, 4, 4), "f4")
    layout[0] = h5py.VirtualSource("/elsewhere.h5", "x", (4, 1, 4, 4))
    with h5py.File(path, "r+") as file:
        del file["trajectory/x0"]
        file.create_virtual_dataset("trajectory/x0", layout)
    with pytest.raises(TrajectoryError, match="another file"):
        Trajectory(path)


def test_links_are_neither_followed_out_of_the_file_nor_around_in_it(path):
    with h5py.File(path, "r+") as file:
        file["forces/elsewhere"] = h5py.ExternalLink("/elsewhere.h5", "/")
        file["trajectory/again"] = file["/"]
        file["forces/more"] = file["forces"]
        file["drifts/soft"] = h5py.SoftLink("/drifts")
    with Trajectory(path) as t:
        assert t.force_names == ("00_push0", "01_push1")
        assert t.drift_names == ("00_walk",)
    assert {p.where for p in verify(path) if "is a link" in p.what} == {"forces/elsewhere", "drifts/soft"}


def test_data_that_reaches_beyond_the_end_of_the_file_is_noticed(path):
    """HDF5 believes the address in the file; a memory map of it would not survive."""
    content = path.read_bytes()
    with h5py.File(path) as file:
        address = file["trajectory/x"].id.get_offset().to_bytes(8, "little")
    assert content.count(address) == 1
    path.write_bytes(content.replace(address, (len(content) - 100).to_bytes(8, "little")))
    with pytest.raises(TrajectoryError, match=r"truncated: the data of trajectory/x is not all there|damaged"):
        Trajectory(path)


@pytest.mark.parametrize("keep", [0, 7, 100, 3000, -1])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TrajectoryError, match="is truncated"):
        Trajectory(path)


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    for strange in (tmp_path / "pipe.h5", "/dev/zero"):
        with pytest.raises(TrajectoryError, match="no regular file"):
            Trajectory(strange)
    with pytest.raises(TrajectoryError):
        Trajectory("null\0byte")


def test_a_directory_with_a_trajectory_in_it_leads_there(a_run, tmp_path):
    a_run.record(tmp_path / "trajectory.h5")
    with pytest.raises(TrajectoryError, match=r"is a directory — did you mean .*trajectory\.h5"):
        Trajectory(tmp_path)


def test_an_open_reader_sees_what_is_committed_after_it_was_opened(tmp_path, make_run):
    """Samples are smaller than the buffers in which HDF5 would keep the bytes around what it has read."""
    run = make_run(samples=8, steps=2, shape=(2,), image_shape=(1, 2, 2), forces=0)
    path = tmp_path / "t.h5"
    data = run.data(range(8))
    code = (
        "import sys; from emnist_diff_trajectory.reader import Trajectory\n"
        f"with Trajectory({str(path)!r}) as t:\n"
        "    for line in sys.stdin:\n"
        "        print(t.committed, [t.x[p].tobytes().hex() for p in t.committed], flush=True)\n"
    )
    writer = TrajectoryWriter.create(path, run.header)
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        for batch in ([0], [1, 2], [5], [3, 4, 6, 7]):
            writer.commit(batch, {name: values[batch] for name, values in data.items()})
            print(file=other.stdin, flush=True)
            done = [p for p in range(8) if writer._file.read("samples/steps_done")[p]]
            assert other.stdout.readline() == f"{done} {[data['trajectory/x'][p].tobytes().hex() for p in done]}\n"
        other.stdin.close()
    writer.close()


def test_samples_come_one_after_the_other(path, a_run):
    data = a_run.data(range(5))
    with Trajectory(path) as t:
        seen = list(t)
        assert [sample.position for sample in seen] == [0, 1, 4]
        assert [(s.id, s.character, s.seed) for s in seen] == [
            (100, "A", 2**64 - 1),
            (101, "é", 2**64 - 1),
            (104, "A", 2**64 - 1),
        ]
        assert np.array_equal(seen[2]["x0"], data["trajectory/x0"][4])
        assert np.array_equal(seen[1]["forces/01_push1/contribution"], data["forces/01_push1/contribution"][1])
        assert np.array_equal(seen[0].image, data["images"][0])


@pytest.mark.parametrize("position", [5, -6, 1 << 70])
@pytest.mark.parametrize("capture", [Capture(), Capture(samples=102)], ids=["all", "some"])
def test_a_position_that_is_not_there_is_an_unknown_name(tmp_path, a_run, position, capture):
    path = tmp_path / "t.h5"
    TrajectoryWriter.create(path, a_run.header, capture).close()
    with Trajectory(path) as t:
        for ask in (
            lambda: t.field("x", position),
            lambda: t.field("images", position),
            lambda: t.row(position),
            lambda: t.keeps(position),
            lambda: t.pictures(position),
            lambda: Sample(t, position),
        ):
            with pytest.raises(UnknownName, match=f"position {position} of t.h5: it has 5 samples"):
                ask()


def test_a_closed_file_says_so(path):
    with Trajectory(path) as t:
        first, *_ = t
    for ask in (
        lambda: t.field("x"),
        lambda: t.field("x", 0),
        lambda: t.x,
        lambda: t.images,
        lambda: t.contribution(0),
        lambda: t.mmap("x"),
        lambda: t.committed,
        lambda: t.extras,
        lambda: t.fields,
        lambda: list(t),
        lambda: t.schedule(),
        lambda: t.pictures(0),
        lambda: first["x"],
        lambda: first.image,
    ):
        with pytest.raises(TrajectoryError, match=r"t\.h5 is closed"):
            ask()
    t.close()


def test_a_sample_says_whether_its_states_are_kept(tmp_path, a_run):
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, a_run.header, Capture(samples=frozenset({101, 103})))
    writer.commit(range(5), {n: v if n == "images" else v[[1, 3]] for n, v in a_run.data(range(5)).items()})
    writer.close()
    with Trajectory(path) as t:
        assert [(s.id, s.kept) for s in t] == [(100, False), (101, True), (102, False), (103, True), (104, False)]
        assert [t.keeps(-n) for n in (1, 2)] == [False, True]
        assert all(s["x0"].shape == (4, 1, 4, 4) for s in t if s.kept)
