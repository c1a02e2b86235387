"""What a command does when its streams lead nowhere: a full disk, a reader that went away, a closed descriptor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emnist_diff.printable import printable

COMMAND = (sys.executable, "-m", "emnist_diff")
RUN = ("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--total-videos", "2", "--steps", "3")
FULL = Path("/dev/full")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="its consoles are no files")


def ended(*arguments: object, **streams: object) -> subprocess.CompletedProcess[str]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run([*COMMAND, *map(str, arguments)], text=True, timeout=120, check=False, **given)


@pytest.mark.skipif(not FULL.exists(), reason="no full device")
def test_a_full_stdout_is_an_error_in_one_line_and_a_full_stderr_none(tmp_path):
    with FULL.open("w") as full:
        listed = ended("plugins", "list", stdout=full)
        assert listed.returncode == 7
        assert listed.stderr.startswith("emnist-diff: standard output cannot be written: No space left on device")
        assert len(listed.stderr.splitlines()) == 1
        run = ended(*RUN, "--output", tmp_path, "--quiet", "--json", stdout=full)
        assert (run.returncode, len(run.stderr.splitlines())) == (7, 1)
        assert ended("verify", tmp_path / "A" / "trajectory.h5").returncode == 0
        deaf = ended(*RUN, "--output", tmp_path, "--overwrite", stderr=full)
    assert deaf.returncode == 0
    assert "2 samples of 'A'" in deaf.stdout


@pytest.mark.parametrize("command", [("plugins", "list"), ("--help",), ("doctor", "--json")], ids=" ".join)
def test_a_reader_that_went_away_ends_a_command_without_a_word(command):
    read, write = os.pipe()
    os.close(read)
    gone = ended(*command, stdout=write)
    os.close(write)
    assert (gone.returncode, gone.stderr) == (141, "")


def test_closed_streams_swallow_what_they_are_told_and_no_file_takes_their_place(tmp_path):
    shell = 'exec "$@" >&- 2>&-'
    run = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, *RUN, "--output", tmp_path, "--quiet"], timeout=120, check=False
    )
    assert run.returncode == 0
    only_stderr = 'exec "$@" 2>&-'
    again = subprocess.run(
        ["sh", "-c", only_stderr, "sh", *COMMAND, *RUN, "--output", tmp_path, "--resume", "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert again.returncode == 0
    assert again.stdout.count("\n") == 1  # the log has not gone to stdout instead
    assert '"resumed": 2' in again.stdout


def test_a_stream_that_lacks_a_character_gets_an_escape(tmp_path):
    wide = ("run", "--denoiser", 'gaussian-mixture:shape=[1,4,4],classes="é,b"', "--character", "é", *RUN[3:])
    ascii_only = ended(*wide, "--output", tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ascii_only.returncode == 0, ascii_only.stderr
    assert "2 samples of '\\u00e9'" in ascii_only.stdout


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e\r"


def test_nothing_that_a_command_is_given_or_finds_can_command_the_terminal(cli, tmp_path):
    plugin = tmp_path / "hostile_names.py"
    plugin.write_text(
        "from emnist_diff.hookspecs import hookimpl\nfrom emnist_diff.records import ForceSpec\n"
        f"TEXT = {HOSTILE!r}\n"
        "@hookimpl\ndef emnist_diff_forces():\n"
        "    yield ForceSpec(name='odd', factory='hostile_names:Odd', summary='says odd things')\n"
        "class Odd:\n    __doc__ = 'Says ' + TEXT\n"
        "    def __init__(self):\n        raise RuntimeError(TEXT)\n"
    )
    at = ("--plugin-file", plugin)
    results = [
        cli("forces", *at),
        cli("plugins", "list", *at),
        cli("plugins", "show", "odd", *at),
        cli("plugins", "check", *at),
        cli(*RUN, "--force", "odd", *at, "--output", tmp_path / "out", "--log-format", "human"),
        cli(*RUN, "--character", HOSTILE, "--output", tmp_path / "out"),
        cli(*RUN, "--output", tmp_path / HOSTILE.replace("/", ""), "--log-format", "human"),
        cli("verify", HOSTILE),
        cli("run", HOSTILE),
        cli("run", f"--{HOSTILE}"),
        cli(HOSTILE),
        cli("merge", tmp_path / HOSTILE),
    ]
    for number, result in enumerate(results):
        text = result.out + result.err
        bad = [c for c in text if c != "\n" and not c.isprintable()]
        assert not bad, (number, text)
    assert "owned" in results[2].out
    assert [r.code for r in results[:4]] == [0, 0, 0, 1]
    assert results[6].code == 0, results[6].err


def test_text_that_cannot_be_encoded_is_printable_too():
    assert printable("a\ud800\n\x9b") == "a\\ud800\\n\\x9b"
