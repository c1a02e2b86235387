"""``inspect`` and ``verify`` on files of unknown origin: one line that names the file, and never a traceback."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from emnist_diff_trajectory import verify as verifying
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter


@pytest.fixture
def path(tmp_path, a_run):
    return a_run.record(tmp_path / "t.h5")


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize("spoilt", ["cut", "text", "foreign", "newer", "directory", "missing"])
def test_what_is_no_trajectory_is_named_in_one_line(cli, tmp_path, path, command, spoilt):
    bad = tmp_path / f"{spoilt}.h5"
    if spoilt == "cut":
        bad.write_bytes(path.read_bytes()[:5000])
    elif spoilt == "text":
        bad.write_text("hello")
    elif spoilt == "foreign":
        h5py.File(bad, "w").close()
    elif spoilt == "newer":
        bad.write_bytes(path.read_bytes())
        with h5py.File(bad, "r+") as file:
            file.attrs["format_version"] = [2, 0]
    elif spoilt == "directory":
        bad.mkdir()
    done = cli(command, bad)
    assert done.code == 5
    assert done.out == ""
    assert str(bad) in done.error


def test_verify_names_file_place_and_problem(cli, path):
    assert cli("verify", path).out == f"{path}: ok\n"
    with h5py.File(path, "r+") as file:
        file["trajectory/x"][3, 0] = np.nan
    done = cli("verify", path)
    assert done.code == 1
    assert done.out == f"{path}: trajectory/x: sample 103 holds values that are not finite\n"
    assert json.loads(cli("verify", path, "--json").out)["problems"][0]["where"] == "trajectory/x"


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_nothing_in_a_file_reaches_the_terminal_as_a_command(cli, path, how):
    with h5py.File(path, "r+") as file:
        del file["samples/classes"], file["environment"]
        file["samples/classes"] = ["\x1b[2J\nA", "B"]
        file["environment"] = '{"host\\u001b": "\\u202e"}'
    done = cli("inspect", path, *how)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\\u202e" in done.out
    refused = cli("select", path, path.with_name("some.h5"), "--sample", "9")
    assert refused.code == 2
    assert "\x1b" not in refused.error


def test_samples_are_called_by_their_ids(cli, tmp_path, a_run):
    path = a_run.record(tmp_path / "t.h5", [[0, 1, 2, 4]])
    with h5py.File(path, "r+") as file:
        file["trajectory/base"][1, 2] += 1
        file["images"][2] ^= 255
    assert cli("verify", path).out.splitlines() == [
        f"{path}: trajectory/prediction: sample 101: base + Σ contributions differs at step 2",
        f"{path}: images: sample 102 does not show its final state",
    ]
    assert "sample 103 is not committed" in cli("inspect", path, "--sample", "103").error
    writer = TrajectoryWriter.create(tmp_path / "none.h5", a_run.header, Capture(samples=104))
    data = a_run.data(range(5))
    writer.commit(range(5), {n: v if n == "images" else v[:4] for n, v in data.items()})
    writer.close()
    assert "keeps no states of sample 104" in cli("inspect", tmp_path / "none.h5", "--sample", "104").error


@pytest.mark.parametrize(
    ("capture", "note"),
    [
        (Capture(frozenset({"x", "base"})), "the ledger was not checked, for lack of forces/00_push0"),
        (Capture(samples=0), "no states are kept"),
    ],
)
def test_what_verify_could_not_check_is_a_note(cli, tmp_path, a_run, capture, note):
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, a_run.header, capture)
    data = a_run.data(range(5), capture.fields)
    writer.commit(range(5), {n: v for n, v in data.items() if n == "images" or capture.samples is None})
    writer.close()
    done = cli("verify", path)
    assert done.code == 0
    assert done.out.startswith(f"{path}: ok\n  {note}")
    assert json.loads(cli("verify", path, "--json").out)["notes"][0].startswith(note)


@pytest.mark.parametrize("piece", [1 << 20, 100])
@pytest.mark.parametrize("forces", [1, 6])
def test_the_ledger_of_half_precision_is_checked(tmp_path, make_run, monkeypatch, forces, piece):
    monkeypatch.setattr(verifying, "_PIECE", piece)
    run = make_run(samples=4, forces=forces, shape=(1, 16, 16))
    path = tmp_path / "t.h5"
    writer = TrajectoryWriter.create(path, run.header, Capture(dtype="float16"))
    data = run.data(range(4))
    data |= {n: v * np.float32(1e-4) for n, v in data.items() if n != "images" and n != "trajectory/x"}
    writer.commit(range(4), data)
    writer.close()
    assert verify(path) == []
    with h5py.File(path, "r+") as file:
        place = (2, 1, 0, 3, 3)
        terms = ["trajectory/prediction", "trajectory/base", *(f"forces/{n}/contribution" for n in file["forces"])]
        file["trajectory/base"][place] += np.float16(sum(abs(float(file[name][place])) for name in terms) / 100)
    assert [(p.where, p.what) for p in verify(path)] == [
        ("trajectory/prediction", "sample 102: base + Σ contributions differs at step 1")
    ]


def test_a_seed_that_the_configuration_does_not_say_is_a_problem(path):
    with h5py.File(path, "r+") as file:
        file["samples/seed"][3] = 5
    assert [(p.where, p.what) for p in verify(path)] == [
        ("samples/seed", "sample 103 has seed 5, the configuration 18446744073709551615")
    ]


def test_steps_are_looked_at_in_blocks_and_the_last_may_hold_the_final_state_alone(path, monkeypatch):
    monkeypatch.setattr(verifying, "BLOCK", 1)
    assert verify(path) == []
    with h5py.File(path, "r+") as file:
        file["trajectory/base"][2, 3] += 1
        file["trajectory/x"][2, 4] = np.nan
    assert {p.what for p in verify(path)} >= {
        "sample 102: base + Σ contributions differs at step 3",
        "sample 102 holds values that are not finite",
    }
