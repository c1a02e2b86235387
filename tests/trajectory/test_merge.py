"""Workers' shares, and their union: the single run, bit for bit, whatever their number."""

from __future__ import annotations

import json
import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.running.run import run
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory import open_files
from emnist_diff_trajectory.compare import compare
from emnist_diff_trajectory.merge import merge, worker_files
from emnist_diff_trajectory.pack import Packing, pack
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.select import select
from emnist_diff_trajectory.verify import verify

SETTINGS = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 4, 4], "classes": "ABC"},
    "character": "A,B,C",
    "total_videos": 8,
    "steps": 5,
    "batch_size": 3,
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
    "drifts": [{"name": "default", "noise_scale": 0.1}],
    "sinks": ["hdf5"],
}


def recorded(folder, **more):
    settings, _ = configure(installed(), SETTINGS | {"output": str(folder)} | more)
    result = run(settings)
    return result.output


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("single")) / "trajectory.h5"


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shares")
    for rank in range(3):
        inside = recorded(folder, rank=rank, world_size=3)
    return inside


@pytest.fixture
def files(tmp_path, shares):
    """A copy of the workers' files."""
    return [Path(shutil.copy(file, tmp_path / file.name)) for file in worker_files(shares)]


@pytest.mark.parametrize("world", [2, 5, 9])
@pytest.mark.parametrize("copy", [False, True], ids=["index", "copy"])
def test_the_union_of_the_workers_is_the_single_run(tmp_path, single, world, copy):
    for rank in range(world):
        inside = recorded(tmp_path, rank=rank, world_size=world)
    found = worker_files(inside)
    assert [f.name for f in found][:2] == [f"trajectory-0000-of-{world:04d}.h5", f"trajectory-0001-of-{world:04d}.h5"]
    assert len(found) == min(world, 8)  # a ninth worker of eight samples has nothing to do, and leaves nothing
    joined = inside / "trajectory.h5"
    assert merge(found, joined, copy=copy) == 8
    assert verify(joined) == []
    with Trajectory(joined) as union, Trajectory(single) as alone:
        assert compare(union, alone).same
        assert union.datasets().keys() == alone.datasets().keys()
        for name, dataset in alone.datasets().items():
            assert union.field(name)[...].tobytes() == dataset[...].tobytes(), name
        assert union.ids.tolist() == list(range(8))
        assert bool(union.sources) is not copy
        assert union.environment["workers"][1]["worker"] == {"rank": 1, "world_size": world}
    if copy:
        shutil.move(joined, tmp_path / "alone.h5")
        assert verify(tmp_path / "alone.h5") == []
    else:
        moved = tmp_path / "elsewhere"
        shutil.move(inside, moved)
        assert verify(moved / "trajectory.h5") == []


def test_every_worker_agrees_on_the_rows_of_a_call():
    """The last worker has fewer samples than a call has rows; alone it would choose fewer."""
    rows = set()
    for rank, world in ((0, 1), (0, 3), (7, 8)):
        settings, _ = configure(installed(), SETTINGS | {"rank": rank, "world_size": world})
        assembly = assemble(installed(), settings)
        rows.add((assembly.engine.micro_batch, assembly.header.config["micro_batch"]))
        assert assembly.header.sample_ids.tolist() == list(range(rank, 8, world))
    assert len(rows) == 1


def test_kept_samples_are_joined_like_the_others(tmp_path):
    sink = {"name": "hdf5", "samples": [1, 2, 4], "every": 2}
    alone = recorded(tmp_path / "alone", sinks=[sink]) / "trajectory.h5"
    for rank in range(3):
        inside = recorded(tmp_path / "shares", sinks=[sink], rank=rank, world_size=3)
    for copy in (False, True):
        joined = inside / f"joined{copy}.h5"
        merge(worker_files(inside), joined, copy=copy)
        assert verify(joined) == []
        with Trajectory(joined) as union, Trajectory(alone) as single:
            assert union.kept_samples.tolist() == [1, 2, 4]
            assert compare(union, single).same
            assert union.x[...].tobytes() == single.x[...].tobytes()


def test_files_that_do_not_belong_together_are_refused(tmp_path, files, single):
    out = tmp_path / "out.h5"
    with pytest.raises(TrajectoryError, match="both hold sample 0"):
        merge([files[0], *files], out)
    with pytest.raises(TrajectoryError, match=r"3 of 8 samples are in none of these files \(1, 4, 7\).*--allow-holes"):
        merge([files[0], files[2]], out)
    other = recorded(tmp_path / "seed", seed=7, rank=1, world_size=3) / "trajectory-0001-of-0003.h5"
    shutil.copy(other, tmp_path / "other.h5")
    with pytest.raises(TrajectoryError, match=r"is of another run than .*: seed differ"):
        merge([files[0], tmp_path / "other.h5", files[2]], out)
    (tmp_path / "far").mkdir()
    far = Path(shutil.copy(files[2], tmp_path / "far" / "c.h5"))
    with pytest.raises(OutputError, match=r"is not beside .* use --copy"):
        merge([*files[:2], far], out)
    sink = {"name": "hdf5", "fields": ["x"]}
    fewer = recorded(tmp_path / "fewer", sinks=[sink], rank=1, world_size=3) / "trajectory-0001-of-0003.h5"
    with pytest.raises(TrajectoryError, match="was recorded otherwise than"):
        merge([files[0], fewer, files[2]], out, copy=True)
    with pytest.raises(TrajectoryError, match="is the file of worker 0 of 3 alone: name the others too"):
        merge(files[:1], out)
    assert not out.exists()


def test_holes_are_left_open_when_asked_to(tmp_path, files):
    with h5py.File(files[1], "r+") as file:
        file["samples/steps_done"][1] = 0  # sample 4
    with pytest.raises(TrajectoryError, match="1 of 8 samples are in none"):
        merge(files, tmp_path / "out.h5")
    for copy in (False, True):
        merge(files, tmp_path / "out.h5", copy=copy, allow_holes=True, overwrite=True)
        assert verify(tmp_path / "out.h5") == []
        with Trajectory(tmp_path / "out.h5") as t:
            assert t.committed == [0, 1, 2, 3, 5, 6, 7]
    merge([files[0], files[2]], tmp_path / "two.h5", allow_holes=True)
    with Trajectory(tmp_path / "two.h5") as t:
        assert t.ids.tolist() == [0, 2, 3, 5, 6]


def test_what_is_missing_is_said_and_resuming_only_where_it_helps(tmp_path, files):
    with pytest.raises(TrajectoryError) as caught:
        merge(files[1:], tmp_path / "out.h5")
    assert "3 of 8 samples are in none of these files (0, 3, 6) — use --allow-holes to join" in str(caught.value)
    assert "--resume" not in str(caught.value)
    with h5py.File(files[1], "r+") as file:
        file["samples/steps_done"][1:] = 0  # samples 4 and 7
    with pytest.raises(TrajectoryError) as caught:
        merge(files[1:], tmp_path / "out.h5")
    assert "5 of 8 samples are in none of these files (0, 3-4, 6-7) — use --allow-holes" in str(caught.value)
    assert str(caught.value).endswith(
        f"; --resume finishes what {files[1]} (4, 7) began; no file is of rank 0, whose samples --rank 0 "
        "--world-size 3 makes"
    )


def test_what_is_there_is_not_replaced_unless_asked(tmp_path, files):
    out = tmp_path / "out.h5"
    out.write_text("mine")
    with pytest.raises(OutputError, match="already exists — use --overwrite"):
        merge(files, out)
    assert out.read_text() == "mine"
    with pytest.raises(OutputError, match=r"what is read|already exists"):
        merge(files, files[0], copy=True)
    assert verify(files[0]) == []


def test_no_file_that_is_read_is_replaced_whatever_is_asked(tmp_path, files):
    before = [file.read_bytes() for file in files]
    for copy in (False, True):
        with pytest.raises(OutputError, match="is what is read, and is not replaced"):
            merge(files, files[1], copy=copy, overwrite=True)
    index = tmp_path / "index.h5"
    merge(files, index)
    with Trajectory(index) as t, pytest.raises(OutputError, match="is what is read, and is not replaced"):
        select(t, np.array([0]), files[1], overwrite=True)
    with pytest.raises(OutputError, match="is what is read, and is not replaced"):
        pack(index, files[0], Packing("gzip"), overwrite=True)
    assert [file.read_bytes() for file in files] == before


@pytest.fixture
def index(tmp_path, files):
    merge(files, tmp_path / "index.h5")
    return tmp_path / "index.h5"


def test_an_index_is_packed_into_a_file_of_its_own(cli, tmp_path, index):
    packed = tmp_path / "away" / "packed.h5"
    assert cli("pack", index, "--codec", "gzip", "-o", packed).code == 0
    assert cli("diff", index, packed).out.startswith("the same: 8 samples, ")
    assert verify(packed) == []
    with Trajectory(packed) as t:
        assert t.sources == ()


def test_a_copy_does_not_drop_what_plugins_left(tmp_path, files):
    with h5py.File(files[1], "r+") as file:
        file["plugins/somebody/values"] = 1
    with pytest.raises(OutputError, match=r"holds plugins/somebody, .* merge without --copy"):
        merge(files, tmp_path / "copy.h5", copy=True)
    merge(files, tmp_path / "index.h5")
    for lose in (lambda t: select(t, np.arange(8), tmp_path / "s.h5"), lambda t: pack(t.path, packing=Packing("gzip"))):
        with Trajectory(tmp_path / "index.h5") as t, pytest.raises(OutputError, match="holds plugins/somebody"):
            lose(t)


def rewritten(index, **change):
    with h5py.File(index, "r+") as file:
        said = [json.loads(text) for text in file["sources"].asstr()[...]]
        said[0] |= change
        file["sources"][0] = json.dumps(said[0])


@pytest.mark.parametrize("name", ["../secret.h5", "/etc/passwd", "..", "", "sub/a.h5", "index.h5", "nothing.h5"])
def test_an_index_leads_nowhere_but_to_its_neighbours(tmp_path, index, name):
    rewritten(index, file=name)
    with pytest.raises(TrajectoryError):
        Trajectory(index)


def test_a_neighbour_that_is_a_link_to_elsewhere_is_not_followed(tmp_path, index, files):
    (tmp_path / "far").mkdir()
    shutil.move(files[0], tmp_path / "far" / "a.h5")
    files[0].symlink_to(tmp_path / "far" / "a.h5")
    with pytest.raises(TrajectoryError, match="only files beside it are followed"):
        Trajectory(index)


def test_an_index_that_points_to_an_index_is_refused(tmp_path, index, files):
    shutil.copy(index, tmp_path / "again.h5")
    shutil.copy(tmp_path / "again.h5", files[0])
    with pytest.raises(TrajectoryError, match="is an index of merged files itself"):
        Trajectory(index)


def test_an_index_notices_what_has_happened_to_its_files(tmp_path, index, files, shares):
    files[1].unlink()
    with pytest.raises(TrajectoryError, match="does not exist"):
        Trajectory(index)
    shutil.copy(files[0], files[1])
    with pytest.raises(TrajectoryError, match="sample 0 is in two of its files"):
        Trajectory(index)
    shutil.copy(shares / files[1].name, files[1])
    with h5py.File(files[1], "r+") as file:
        file["samples/steps_done"][1] = 0
    with pytest.raises(TrajectoryError, match="sample 4 is not committed any more"):
        Trajectory(index)


def test_verify_notices_an_index_whose_rows_are_crossed(index, files):
    with h5py.File(index, "r+") as file:
        shape = file["trajectory/base"].shape
        layout = h5py.VirtualLayout(shape, "f4")
        for rank, source in enumerate(files):
            with h5py.File(source) as there:
                count = there["trajectory/base"].shape
            layout[rank::3] = h5py.VirtualSource(source.name, "trajectory/base", count)
        layout[0] = h5py.VirtualSource(files[0].name, "trajectory/base", (3, *shape[1:]))[1]
        del file["trajectory/base"]
        file.create_virtual_dataset("trajectory/base", layout)
    with Trajectory(index) as t:  # which reads the files themselves, each sample where it is
        assert t.base[0].tobytes() == Trajectory(files[0]).base[0].tobytes()
    assert [p.what for p in verify(index)] == [
        f"sample 0 is not the one in {files[0].name}, for readers that follow it"
    ]


@contextmanager
def few_files():
    """As long as it lasts, this process may open few files more than it has open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux does")
def test_more_files_than_a_process_may_open_are_joined_and_read_right(cli, tmp_path):
    """HDF5 gives NaN and black for the file of a virtual dataset that it cannot open."""
    more = {"total_videos": 60, "steps": 2, "character": "A", "forces": [], "drifts": []}
    alone = recorded(tmp_path / "alone", **more) / "trajectory.h5"
    with Trajectory(alone) as t:
        for rank in range(30):
            select(t, np.arange(rank, 60, 30), tmp_path / f"trajectory-{rank:04d}-of-0030.h5")
    index, chosen = tmp_path / "index.h5", tmp_path / "chosen.h5"
    with few_files():
        assert merge(worker_files(tmp_path), index) == 60
        assert merge(worker_files(tmp_path), tmp_path / "copy.h5", copy=True) == 60
        with Trajectory(index) as union, Trajectory(alone) as single:
            assert compare(union, single).same
            for key in (
                ...,
                7,
                -1,
                slice(3, 40, 7),
                slice(50, 3, -9),
                [4, 9, 2],
                (slice(None), 1, 0),
                (..., 0),
                (3, -1),
            ):
                assert union.x[key].tobytes() == single.x[...][key].tobytes(), key
                assert union.x[key].shape == single.x[...][key].shape, key
        for command in (
            ("select", index, chosen, "--sample", "0-59"), ("diff", index, chosen),
            ("diff", alone, tmp_path / "copy.h5"), ("verify", index), ("inspect", index), ("replay", index),
            ("pack", index, "--codec", "gzip"),
        ):  # fmt: skip
            assert cli(*command).code == 0, command
    assert compare(Trajectory(alone), Trajectory(chosen)).same


def test_a_file_that_goes_or_changes_under_an_index_is_an_error_not_zeros(tmp_path, index, files, monkeypatch):
    monkeypatch.setattr(open_files, "most_open_files", lambda: 1)
    with Trajectory(index) as t:
        right = t.x[1]
        again = files[1].read_bytes()
        files[1].unlink()
        _ = t.x[0]
        with pytest.raises(TrajectoryError, match=r"0001-of-0003.h5' (does not exist|cannot be read)"):
            _ = t.x[1]
        files[1].write_bytes(files[0].read_bytes())
        with pytest.raises(TrajectoryError, match="has changed while it was read"):
            _ = t.images[1]
        files[1].write_bytes(again)
        assert t.x[1].tobytes() == right.tobytes()
    with pytest.raises(TrajectoryError, match="is closed"):
        _ = t.x


def test_an_index_cannot_be_mapped_or_continued(index):
    with Trajectory(index) as t, pytest.raises(TrajectoryError, match="is spread over merged files"):
        t.mmap("x")


def test_the_command_line_shares_merges_and_says_what_it_did(cli, tmp_path, monkeypatch):
    command = [
        "run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=AB", "--total-videos", "4", "--steps", "3",
        "--output", tmp_path, "--sink", "hdf5",
    ]  # fmt: skip
    assert cli(*command, "--rank", "2", "--world-size", "2").code == 2
    job = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    for task in range(2):
        for name, value in {**job, "SLURM_PROCID": str(task)}.items():
            monkeypatch.setenv(name, value)
        assert cli(*command, "--distributed").code == 0
    done = cli("merge", tmp_path / "A")
    assert done.code == 0
    assert done.out == f"{tmp_path / 'A' / 'trajectory.h5'}: 4 samples of 2 files\n"
    with Trajectory(tmp_path / "A" / "trajectory.h5") as t:
        assert t.environment["workers"][1]["slurm"] == {**job, "SLURM_PROCID": "1"}
        assert np.array_equal(t.ids, range(4))
    lines = cli("inspect", tmp_path / "A" / "trajectory.h5").out.splitlines()
    here = lines.index("    workers = 2, which differ in")
    for rank, line in enumerate(lines[here + 1 : here + 3]):
        assert line.startswith(f"      rank {rank} of 2: slurm = ")
    again = cli("merge", tmp_path / "A")
    assert again.code == 7
    assert "--overwrite" in again.error
    other = [tmp_path / "other" if part == tmp_path else part for part in command]
    assert "no samples for worker 9 of 10" in cli(*other, "--rank", "9", "--world-size", "10").out
    assert cli("merge", tmp_path / "empty").code == 5
