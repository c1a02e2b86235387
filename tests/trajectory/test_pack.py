"""Packed files, and files of some samples: the same data, and nothing half done."""

from __future__ import annotations

import builtins
import json
import os
import shutil

import h5py
import numpy as np
import pytest

from emnist_diff.errors import ConfigError, OutputError, TrajectoryError, UnknownName
from emnist_diff_trajectory import compose as composing
from emnist_diff_trajectory import parts
from emnist_diff_trajectory.compare import compare
from emnist_diff_trajectory.opening import FREE_CLAIM
from emnist_diff_trajectory.pack import Packing, chunks, pack
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Array
from emnist_diff_trajectory.select import chosen, select, split
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter


@pytest.fixture
def path(tmp_path, make_run):
    return make_run(samples=6, steps=5, shape=(1, 8, 8)).record(tmp_path / "t.h5")


@pytest.mark.parametrize(("codec", "level"), [("zstd", 5), ("blosc", None), ("gzip", 9)])
def test_a_packed_file_holds_the_same_and_the_original_stays(tmp_path, path, codec, level):
    if codec != "gzip":
        pytest.importorskip("hdf5plugin")
    before = path.read_bytes()
    done = pack(path, packing=Packing(codec, level))
    assert done.path == tmp_path / "t.packed.h5"
    assert (done.before, done.after) == (len(before), done.path.stat().st_size)
    assert path.read_bytes() == before
    assert verify(done.path) == []
    with Trajectory(path) as one, Trajectory(done.path) as other:
        assert compare(one, other).same
        for name, dataset in one.datasets().items():
            assert other.field(name)[...].tobytes() == dataset[...].tobytes()
            assert other.field(name).chunks
        assert other.environment == one.environment
        assert json.dumps(other.config) == json.dumps(one.config)
        assert other.schedule().keys() == one.schedule().keys()


@pytest.mark.parametrize("codec", ["zstd", "blosc", "gzip"])
def test_what_packs_tightest_is_read_again(tmp_path, make_run, codec):
    """The contribution of a force that rests is zeros alone, more than may be claimed whatever is stored."""
    if codec != "gzip":
        pytest.importorskip("hdf5plugin")
    run = make_run(samples=2, steps=40, shape=(1, 64, 64), forces=1)
    writer = TrajectoryWriter.create(tmp_path / "t.h5", run.header)
    zeros = {name: np.zeros_like(values) for name, values in run.data(range(2)).items()}
    writer.commit(range(2), zeros)
    writer.close()
    done = pack(tmp_path / "t.h5", packing=Packing(codec))
    with Trajectory(done.path) as packed:
        assert packed.contribution(0).nbytes > FREE_CLAIM
        assert not packed.contribution(0)[...].any()


def test_data_with_order_in_it_becomes_smaller(tmp_path, make_run):
    run = make_run(samples=2, steps=20, shape=(1, 16, 16), forces=0)
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, run.header)
    data = run.data(range(2))
    writer.commit(range(2), {name: np.zeros_like(values) for name, values in data.items()})
    writer.close()
    assert pack(path, packing=Packing("gzip")).ratio > 5


def test_replacing_leaves_one_file_and_a_packed_one_can_be_packed_again(tmp_path, path):
    with Trajectory(path) as t:
        x = t.x[...]
    assert pack(path, packing=Packing("gzip"), replace=True).path == path
    assert list(tmp_path.iterdir()) == [path]
    pack(path, packing=Packing("gzip", 1), replace=True)
    with Trajectory(path) as t:
        assert np.array_equal(t.x[...], x)


def test_a_file_that_does_not_come_out_right_never_gets_its_name(tmp_path, path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(composing, "copy_rows", lambda rows, target, device: None)
    with pytest.raises(OutputError, match="did not become what it should"):
        pack(path, packing=Packing("gzip"), replace=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_packed_is_refused(tmp_path, path, a_run):
    open_run = a_run.record(tmp_path / "open.h5", [[0]])
    with pytest.raises(TrajectoryError, match=r"holds 1 of 5 samples.*finish the run"):
        pack(open_run, packing=Packing("gzip"))
    with pytest.raises(ConfigError, match=r"level 10: gzip has 1 … 9"):
        pack(path, packing=Packing("gzip", 10))
    with h5py.File(path, "r+") as file:
        file["plugins/somebody"] = 1
    with pytest.raises(OutputError, match="plugins/somebody, which packing does not know"):
        pack(path, packing=Packing("gzip"))


def test_a_disk_with_less_room_than_the_original_takes_is_refused(path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 20, 0, 1 << 20))
    with pytest.raises(OutputError, match=r"needs 1 MB, 1 MB are free — make room"):
        pack(path, packing=Packing("gzip"))
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_somebody_writes_is_not_replaced(tmp_path, a_run):
    path = a_run.record(tmp_path / "t.h5")
    writer, _ = TrajectoryWriter.resume(path, a_run.header)
    with pytest.raises(OutputError, match="in use"):
        pack(path, packing=Packing("gzip"), replace=True)
    writer.close()


def test_without_hdf5plugin_the_way_out_is_named(tmp_path, path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "hdf5plugin":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(ConfigError, match=r"pip install 'emnist-diff\[pack\]', or use --codec gzip"):
        pack(path, packing=Packing("zstd"))


@pytest.mark.parametrize(
    ("shape", "dtype"), [((10, 51, 1, 28, 28), "float32"), ((10, 51, 16), "float16"), ((3, 9, 64, 512, 512), "float32")]
)
def test_chunks_are_of_a_moderate_size(shape, dtype):
    made = chunks(Array("trajectory/x", shape, dtype))
    size = np.prod(made) * np.dtype(dtype).itemsize
    assert len(made) == len(shape)
    assert all(1 <= a <= b for a, b in zip(made, shape, strict=True))
    assert 10_000 < size <= 1 << 19


def test_samples_are_selected_by_class_and_by_id(tmp_path, path):
    with Trajectory(path) as t:
        assert chosen(t, ["é"]).tolist() == [1, 3, 5]
        assert chosen(t, ["é"], [101, 102, 105]).tolist() == [1, 5]
        assert select(t, chosen(t, ["é"]), tmp_path / "e.h5") == 3
        for bad in (lambda: chosen(t, ["B"]), lambda: chosen(t, ids=[3])):
            with pytest.raises(UnknownName):
                bad()
        with pytest.raises(ConfigError, match="no such sample"):
            chosen(t, ["A"], [101])
        assert verify(tmp_path / "e.h5") == []
        with Trajectory(tmp_path / "e.h5") as some:
            assert some.ids.tolist() == [101, 103, 105]
            for name, dataset in t.datasets().items():
                assert some.field(name)[...].tobytes() == dataset[...][[1, 3, 5]].tobytes()


@pytest.mark.parametrize("by", ["class", "sample"])
def test_parts_of_a_split_make_up_the_whole(tmp_path, path, by):
    with Trajectory(path) as t:
        made = split(t, tmp_path / "parts", by)
        expected = (
            ["class-A.h5", "class-e-4a99557e.h5"] if by == "class" else [f"sample-{i}.h5" for i in range(100, 106)]
        )
        assert sorted(p.name for p in made) == sorted(p.replace("-1", "-0001") for p in expected)
        ids = []
        for part in made:
            assert verify(part) == []
            with Trajectory(part) as some:
                ids += some.ids.tolist()
        assert sorted(ids) == t.ids.tolist()


def test_a_file_that_grows_is_said_to_and_the_original_is_kept(cli, tmp_path, make_run):
    path = make_run(samples=1, steps=2, shape=(1, 2, 2)).record(tmp_path / "t.h5")  # less than the headers of chunks
    before = path.read_bytes()
    done = cli("pack", path, "--codec", "gzip", "--replace")
    assert done.code == 0
    assert " times larger; the original is kept\n" in done.out
    assert json.loads(cli("pack", path, "--codec", "gzip", "--replace", "--json").out)["written"] is False
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert cli("pack", path, "--codec", "gzip").out.endswith(" times larger\n")
    assert verify(tmp_path / "t.packed.h5") == []


def test_what_is_read_is_never_replaced(cli, tmp_path, path):
    before = path.read_bytes()
    (tmp_path / "other-name.h5").symlink_to(path)
    for target in (path, tmp_path / "other-name.h5"):
        for command in (["select", path, target, "--sample", "100"], ["pack", path, "--codec", "gzip", "-o", target]):
            done = cli(*command, "--overwrite")
            assert done.code == 7
            assert "is what is read, and is not replaced — name another file" in done.error
    path.rename(tmp_path / "class-A.h5")
    assert cli("split", tmp_path / "class-A.h5", tmp_path, "--overwrite").code == 7
    assert (tmp_path / "class-A.h5").read_bytes() == before


def test_data_of_plugins_goes_along_with_all_samples_or_is_named(cli, tmp_path, path):
    with h5py.File(path, "r+") as file:
        group = file.create_group("plugins/somebody")
        group.create_dataset("values", data=np.arange(60.0).reshape(6, 10), chunks=(2, 10), compression="gzip")
        group["values"].attrs["unit"] = "mm"
        group["notes/first"] = "é"
    assert cli("select", path, tmp_path / "all.h5", "--sample", "100-105").code == 0
    with h5py.File(tmp_path / "all.h5") as file:
        assert np.array_equal(file["plugins/somebody/values"][...], np.arange(60.0).reshape(6, 10))
        assert file["plugins/somebody/values"].attrs["unit"] == "mm"
        assert file["plugins/somebody/notes/first"].asstr()[()] == "é"
    assert verify(tmp_path / "all.h5") == []
    for command in (["select", path, tmp_path / "few.h5", "--sample", "100-104"], ["split", path, tmp_path / "parts"]):
        done = cli(*command)
        assert done.code == 7
        assert f"{path} holds plugins/somebody, which goes along only where all samples" in done.error
    assert not (tmp_path / "few.h5").exists()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: f.__setitem__("plugins/a/b", h5py.ExternalLink("/etc/passwd", "x")), "plugins/a/b is a link"),
        (lambda f: f.__setitem__("plugins/a", h5py.SoftLink("/images")), "plugins/a is a link"),
        (
            lambda f: f.create_dataset("plugins/a", (2,), "f4", external=[("/etc/passwd", 0, 8)]),
            "keeps its data in another file",
        ),
        (
            lambda f: f.create_dataset("plugins/a", (1 << 30,), "f8", chunks=(1 << 28,), compression="gzip"),
            "the chunks of plugins/a claim",
        ),
    ],
)
def test_data_of_plugins_leads_nowhere(cli, tmp_path, path, spoil, complaint):
    with h5py.File(path, "r+") as file:
        spoil(file)
    done = cli("select", path, tmp_path / "all.h5", "--sample", "100-105")
    assert done.code in (5, 7)
    assert complaint in done.error
    assert not (tmp_path / "all.h5").exists()


def test_uncommitted_samples_stay_uncommitted_and_bring_no_bytes(tmp_path, a_run):
    path = a_run.record(tmp_path / "t.h5", [[0], [3]])
    with h5py.File(path, "r+") as file:
        file["trajectory/x"][1] = 7.0  # written, and then the run was killed
    with Trajectory(path) as t:
        select(t, np.array([0, 1]), tmp_path / "s.h5")
    with Trajectory(tmp_path / "s.h5") as s:
        assert s.committed == [0]
        assert not s.x[1].any()


@pytest.mark.parametrize("shape", [(3, 64, 64), (16,)])
def test_blocks_smaller_than_a_sample_change_nothing(tmp_path, make_run, monkeypatch, shape):
    monkeypatch.setattr(parts, "BLOCK", 50_000)
    path = make_run(samples=4, steps=5, shape=shape, image_shape=(1, 4, 4)).record(tmp_path / "t.h5", [[0, 1], [3]])
    with Trajectory(path) as t:
        select(t, np.array([1, 2, 3]), tmp_path / "s.h5")
        with Trajectory(tmp_path / "s.h5") as s:
            assert s.committed == [0, 2]
            for name in ("trajectory/x", "trajectory/base", "images"):
                assert s.field(name)[...][[0, 2]].tobytes() == t.field(name)[...][[1, 3]].tobytes()


def test_the_command_line(cli, tmp_path, path):
    done = cli("pack", path, "--codec", "gzip", "--json")
    data = json.loads(done.out)
    assert data["ratio"] == pytest.approx(data["before"] / data["after"], abs=1e-3)
    assert cli("pack", path, "--codec", "gzip").code == 7
    assert cli("pack", path, "--codec", "gzip", "--overwrite").code == 0
    assert "did you mean 'gzip'" in cli("pack", path, "--codec", "gzp").error
    assert cli("pack", path, "--codec", "gzip", "--replace", "-o", tmp_path / "x.h5").code == 2
    assert cli("pack", path, "--codec", "gzip", "--replace").out.startswith(f"{path}: 0.")
    assert cli("select", path, tmp_path / "s.h5", "--sample", "100-101,104").out == f"{tmp_path / 's.h5'}: 3 samples\n"
    assert cli("select", path, tmp_path / "s.h5", "--class", "A").code == 7
    assert cli("select", path, tmp_path / "u.h5").code == 2
    assert "expected ids" in cli("select", path, tmp_path / "u.h5", "--sample", "1-x").error
    assert cli("split", path, tmp_path / "by").out.splitlines() == [
        str(tmp_path / "by" / "class-A.h5"),
        str(tmp_path / "by" / "class-e-4a99557e.h5"),
    ]
    assert cli("split", path, tmp_path / "by", "--by", "colour").code == 2
    assert not os.path.exists(tmp_path / "u.h5")
