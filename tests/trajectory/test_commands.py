"""``inspect`` and ``verify`` on files of unknown origin: one line that names the file, and never a traceback."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest


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
    assert done.out == f"{path}: trajectory/x: sample 3 holds values that are not finite\n"
    assert json.loads(cli("verify", path, "--json").out)["problems"][0]["where"] == "trajectory/x"


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_nothing_in_a_file_reaches_the_terminal_as_a_command(cli, path, how):
    with h5py.File(path, "r+") as file:
        del file["samples/classes"], file["environment"]
        file["samples/classes"] = ["\x1b[2J\nA", "B"]
        file["environment"] = '{"host\\u001b": "\\ud800"}'
    done = cli("inspect", path, *how)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\\ud800" in done.out
    refused = cli("select", path, path.with_name("some.h5"), "--sample", "9")
    assert refused.code == 2
    assert "\x1b" not in refused.error
