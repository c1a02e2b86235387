"""``emnist-diff view``: what is served and saved, and what is refused."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest

from emnist_diff.errors import OutputError
from emnist_diff_plugins.viewer import save as saves
from emnist_diff_plugins.viewer.shown import names, showing
from emnist_diff_trajectory.attention import beside
from emnist_diff_trajectory.pack import Packing, pack

pytestmark = pytest.mark.usefixtures("plain_page")


def embedded(page: str) -> dict[str, bytes]:
    """The files in a page, by name."""
    found = re.findall(r'id="embedded-\d+" data-name="([^"]*)">([^<]*)</script>', page)
    return {name: base64.b64decode(data) for name, data in found}


def test_it_serves_until_ctrl_c_and_ends_calmly(recorded: Path, tmp_path: Path):
    command = [sys.executable, "-m", "emnist_diff", "view", str(recorded.parent), "--no-open", "--json"]
    for stop in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            with urllib.request.urlopen(f"{address}file/0/trajectory.h5") as answer:
                assert answer.read() == recorded.read_bytes()
            process.send_signal(stop)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
        assert (process.returncode, out, err) == (0, "", ""), stop


def test_what_is_no_run_is_refused_in_one_line(cli, recorded: Path, tmp_path: Path):
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "folder").mkdir()
    (tmp_path / "shares").mkdir()
    (tmp_path / "shares" / "trajectory-0000-of-0002.h5").touch()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(recorded.read_bytes()[:-5000])
    page = tmp_path / "page.html"
    for words, code, line in [
        (("missing.h5",), 5, "trajectory file 'missing.h5' does not exist"),
        ((tmp_path / "text.h5",), 5, "is no HDF5 file"),
        ((cut,), 5, "truncated"),
        ((tmp_path / "folder",), 5, "has no trajectory.h5 — name a file"),
        ((tmp_path / "shares",), 5, "has no trajectory.h5 — join those of its workers with emnist-diff merge"),
        ((recorded, "--embed"), 2, "--embed needs --save PAGE"),
        ((recorded, "--max-size", "1MB"), 2, "--max-size needs --save PAGE"),
        ((recorded, "--save", page), 2, "--save writes a page without data — use --embed"),
        (("--save", page, "--port", "8000"), 2, "--save and --port exclude each other"),
        (("--save", page, "--embed"), 2, "--embed needs a trajectory file"),
        ((recorded, "--save", page, "--embed", "--max-size", "10kB"), 2, "copy some samples with emnist-diff select"),
        ((recorded, "--save", page, "--embed", "--max-size", "99"), 2, "copy some samples with emnist-diff select"),
        ((recorded, "--save", page, "--embed", "--max-size", "big"), 2, "--max-size 'big': write it as 200MB"),
        (("--save", tmp_path), 7, "it is a directory"),
        (("--save", recorded), 7, "already exists — use --overwrite to replace it"),
        (("--save", recorded, "--overwrite"), 7, "is an HDF5 file, and is not replaced by a page"),
        ((recorded, "--save", recorded, "--embed", "--overwrite"), 7, "is not replaced by a page"),
        (("--port", "70000"), 2, "70000"),
    ]:
        done = cli("view", *words)
        assert (done.code, line in done.err) == (code, True), done.err
        assert "Traceback" not in done.err
    assert not page.exists()
    assert h5py.is_hdf5(recorded)
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_page_without_data_states_what_it_may_do(cli, tmp_path: Path):
    path = tmp_path / "new" / "page.html"
    done = cli("view", "--save", path)
    assert (done.code, done.out.strip()) == (0, str(path))
    page = path.read_text()
    assert page.index("Content-Security-Policy") < page.index("<script")
    assert "default-src &#x27;none&#x27;" in page
    assert not embedded(page)
    assert cli("view", "--save", path).code == 7
    assert json.loads(cli("view", "--save", path, "--overwrite", "--json").out)["bytes"] == path.stat().st_size


def test_files_are_put_into_a_page_packed_where_that_is_smaller(cli, recorded: Path, tmp_path: Path):
    run = tmp_path / "run" / "trajectory.h5"
    run.parent.mkdir()
    shutil.copy(recorded, run)
    shutil.copy(recorded, beside(run))
    page = tmp_path / "page.html"
    done = cli("view", run.parent, "--save", page, "--embed")
    assert done.code == 0
    files = embedded(page.read_text())
    assert list(files) == ["trajectory.h5", "trajectory.attention.h5"]
    (tmp_path / "out.h5").write_bytes(files["trajectory.h5"])
    assert len(files["trajectory.h5"]) < recorded.stat().st_size
    with h5py.File(tmp_path / "out.h5") as packed, h5py.File(recorded) as original:
        assert np.array_equal(packed["trajectory/x"], original["trajectory/x"])
    assert "packed to" in done.err
    assert "the page takes" in done.err


def test_a_run_that_goes_on_is_put_in_as_it_is(tmp_path: Path, recorded: Path):
    path = tmp_path / "trajectory.h5"
    shutil.copy(recorded, path)
    with h5py.File(path, "r+") as file:
        file["samples/steps_done"][3:] = 0
    with showing([path]) as shown:
        assert embedded(saves.saved(shown).html.decode()) == {"trajectory.h5": path.read_bytes()}


@pytest.mark.parametrize("how", ["index", "blosc"])
def test_what_the_page_cannot_read_is_copied_for_as_long_as_it_is_shown(
    record, recorded: Path, tmp_path: Path, cli, how: str
):
    path = tmp_path / "trajectory.h5"
    if how == "index":
        paths = [record(tmp_path / str(rank), rank=rank, world_size=2) for rank in (0, 1)]
        for part in paths:
            shutil.copy(part, tmp_path)
        assert cli("merge", tmp_path).code == 0
        said = "is an index of 2 files"
    else:
        pytest.importorskip("hdf5plugin")
        pack(recorded, path, Packing("blosc"))
        said = "is packed with HDF5 filter 32001, which browsers cannot unpack"
    with showing([tmp_path]) as shown, h5py.File(recorded) as expected:
        copy = shown[0].path
        assert shown[0].name == "trajectory.h5"
        with h5py.File(copy) as file:
            for name in ("trajectory/x", "forces/01_repel_class/contribution", "images"):
                assert file[name].chunks is None
                assert not file[name].is_virtual
                assert np.array_equal(file[name], expected[name])
    assert not copy.parent.exists()
    done = cli("view", path, "--save", tmp_path / "page.html", "--embed")
    assert f"{said}: the page reads a copy of" in done.err.partition("\n")[0]


def test_files_that_the_page_reads_are_shown_as_they_are(recorded: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(recorded, "run.h5")
    pack(Path("run.h5"), Path("gzip.h5"), Packing("gzip"))
    shutil.copy(recorded, "run.attention.h5")
    with showing([Path("run.attention.h5"), Path("gzip.h5")]) as (run, packed):
        assert (run.path, packed.path) == (Path("run.h5"), Path("gzip.h5"))
        assert (run.sidecar.path, packed.sidecar) == (Path("run.attention.h5"), None)


def test_files_of_one_name_are_told_apart_by_their_folders(recorded: Path, tmp_path: Path):
    paths = [tmp_path / "one" / "A" / "trajectory.h5", tmp_path / "two" / "A" / "trajectory.h5"]
    for path in paths:
        path.parent.mkdir(parents=True)
        shutil.copy(recorded, path)
        shutil.copy(recorded, beside(path))
    with showing([path.parent for path in paths]) as (one, two):
        assert (one.name, two.name) == ("one/A/trajectory.h5", "two/A/trajectory.h5")
        assert two.sidecar.name == "two/A/trajectory.attention.h5"
    assert names([*paths, paths[0], recorded]) == [
        "one/A/trajectory.h5",
        "two/A/trajectory.h5",
        "one/A/trajectory.h5",
        "/".join(recorded.parts[-3:]),
    ]
    assert names([]) == []


def test_what_was_captured_from_another_run_is_left_out_with_a_line(record, recorded: Path, tmp_path: Path, capsys):
    path = tmp_path / "trajectory.h5"
    shutil.copy(recorded, path)
    shutil.copy(record(tmp_path / "other", seed=5), beside(path))
    for line in ("is of another run than", "is no HDF5 file, or is truncated"):
        with showing([path]) as (run,):
            assert run.sidecar is None
        (said,) = capsys.readouterr().err.splitlines()
        assert line in said
        assert f"it is left out; capture it again with emnist-diff attend {path} --overwrite" in said
        beside(path).write_bytes(b"")


def test_a_copy_that_the_disk_has_no_room_for_is_refused_before_it_is_made(recorded: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("hdf5plugin")
    pack(recorded, tmp_path / "b.h5", Packing("blosc"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(OutputError, match=r"make room, or set TMPDIR to another folder"), showing([tmp_path / "b.h5"]):
        pass
