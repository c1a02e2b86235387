"""The dashboard in a real terminal: what it shows, and that the terminal is as it was whatever happens."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff_trajectory.reader import Trajectory

ESC = "\x1b"
SOME = r"[1-9]\d* of 24 samples"


def samples(terminal: Any) -> int:
    """The finished samples that the screen tells of."""
    return int(terminal.until(r"(\d+) of 24 samples")[1])


def test_everything_is_there_and_moves(terminal: Callable[..., Any], quick: list[Any], tmp_path: Path) -> None:
    slower = [*quick, "--drift", "slow:seconds=0.4"]  # also a busy machine sees it moving
    shown = terminal(*slower, "--dashboard")
    shown.until(SOME)
    for panel in ("─ log ─", "─ devices ─", "─ progress ─", "─ finished samples ─", "─ estimated images at step"):
        shown.until(panel)
    assert not shown.echoes()
    shown.resize(100, 44)
    shown.until(r"─ numbers of samples in hand, [1-5] steps? behind them ─")
    shown.until(r"│ +\d+ +\d+\.\d\d +\d+\.\d\d  0\.\d{4} +0\.\d{4} +│")
    shown.resize(100, 32)
    shown.until(r"▀{14} ▀{14} ")  # pictures of 28 × 28, halved to fit, side by side
    shown.until("info run.started output=")
    shown.until(r"samples/s +0:\d\d left")
    shown.until(r"step \d of 5 +4 in hand")
    rows = dict(re.findall(r"│ +(\d+)  A +1000 +0\.\d\d\d +(\d+\.\d\d) ", shown.text))
    assert rows
    before = samples(shown)
    shown.until(f"(?:{'|'.join(str(n) for n in range(before + 4, 25, 4))}) of 24 samples")
    assert shown.wait() == 0
    assert shown.restored
    assert "24 samples of 'A' in" in shown.text
    with Trajectory(tmp_path / "out" / "A" / "trajectory.h5") as file:
        x = file.x[:].astype(np.float64).reshape(24, 6, -1)
    path = np.linalg.norm(np.diff(x, axis=1), axis=2).sum(axis=1)
    for sample, told in rows.items():
        assert path[int(sample)] == pytest.approx(float(told), abs=0.006)


def test_a_terminal_that_changes_its_size(terminal: Callable[..., Any], slow: list[Any]) -> None:
    shown = terminal(
        *slow, "--total-videos", "96", "--dashboard", COLUMNS="100", LINES="32"
    )  # as some shells export them
    shown.until("─ finished samples ─")
    shown.resize(50, 16)
    shown.until(r"\A╭─ progress ─+╮\n")
    assert "finished samples" not in shown.text
    assert all(len(line) <= 50 for line in shown.text.splitlines())
    shown.resize(90, 24)
    shown.until(r"─ log ─+╮╭─ devices ─")
    shown.press(b"\x03")
    assert shown.wait() == 130
    assert shown.restored


@pytest.mark.parametrize(("columns", "lines"), [(40, 12), (76, 20), (30, 5), (8, 2), (1, 1)])
def test_a_small_terminal(terminal: Callable[..., Any], slow: list[Any], columns: int, lines: int) -> None:
    shown = terminal(*slow, "--total-videos", "4", "--dashboard", columns=columns, lines=lines)
    if columns >= 20:
        shown.until(r"\d of 4 samples")
    assert shown.wait() == 0
    assert shown.restored
    assert b"Traceback" not in shown.raw
    assert b"dashboard stopped" not in shown.raw


def test_ctrl_c_leaves_a_sane_terminal_and_a_run_to_resume(
    terminal: Callable[..., Any], quick: list[Any], tmp_path: Path
) -> None:
    slow = [*quick, "--total-videos", "12", "--drift", "slow:seconds=0.6"]  # a batch lasts for several drawings
    shown = terminal(*slow, "--dashboard")
    shown.until(r"[1-9]\d* of 12 samples")
    shown.press(b"\x03")
    shown.until("stopping after this batch")
    assert shown.wait() == 130
    assert shown.restored
    after = shown.raw.rpartition(b"\x1b[?1049l")[2].decode().replace("\r\n", "")
    told = re.search(r"interrupted: (\d+) of 12 samples are committed .* repeat the command with --resume", after)
    assert told
    again = terminal(*slow, "--dashboard", "--resume")
    again.until(f"{told[1]} were there")
    assert again.wait() == 0
    assert again.restored
    assert f"({told[1]} were already there)" in again.text
    log = [json.loads(line) for line in (tmp_path / "out" / "A" / "run.log").read_text().splitlines()]
    assert [line["event"] for line in log].count("run.started") == 2, "the second run must add to the log of the first"


def test_a_second_ctrl_c_stops_at_once(terminal: Callable[..., Any], quick: list[Any]) -> None:
    shown = terminal(*quick, "--drift", "slow:seconds=20", "--dashboard")
    shown.until("run.started")
    shown.press(b"\x03")
    shown.pump(1.1)
    shown.press(b"\x03")
    assert shown.wait(10) == 130
    assert shown.restored


def test_ctrl_z_gives_the_terminal_to_the_shell(terminal: Callable[..., Any], slow: list[Any]) -> None:
    shown = terminal(*slow, "--total-videos", "96", "--dashboard")
    shown.until(r"[1-9]\d* of 96 samples")
    shown.press(b"\x1a")
    shown.until(r"\A\s*\S")  # whatever is on the screen
    while not os.waitpid(shown.pid, os.WUNTRACED | os.WNOHANG)[0]:
        shown.pump(0.05)
    shown.pump(0.05)
    assert shown.restored
    os.kill(shown.pid, signal.SIGCONT)
    while shown.restored:
        assert shown.pump(0.05)
    shown.press(b"\x03")
    assert shown.wait() == 130
    assert shown.restored


def test_an_error_is_told_on_the_screen_that_was_there(terminal: Callable[..., Any], quick: list[Any]) -> None:
    shown = terminal(*quick, "--drift", "broken", "--dashboard", columns=140)
    assert shown.wait() == 6
    assert shown.restored
    after = shown.raw.rpartition(b"\x1b[?1049l")[2].decode()
    assert re.search(r"emnist-diff: drift 'broken' of \w+\.py raised AssertionError: too much \(step 3\)", after)
    assert "Traceback" not in after


def test_warnings_are_repeated_and_stray_lines_are_kept(
    terminal: Callable[..., Any], slow: list[Any], tmp_path: Path
) -> None:
    shown = terminal(*slow, "--drift", "loud", "--dashboard")
    shown.until("too.loud by=3")
    assert r"printed\x1b[31m out of turn" in shown.text
    assert shown.wait() == 0
    assert b"warning: too.loud by=3" in shown.raw.rpartition(b"\x1b[?1049l")[2]
    log = [json.loads(line) for line in (tmp_path / "out" / "A" / "run.log").read_text().splitlines()]
    assert {"printed", "too.loud", "run.started", "run.committed"} <= {line["event"] for line in log}


@pytest.mark.parametrize("arguments", [["--dashboard"], []])
def test_a_dumb_terminal_gets_lines(terminal: Callable[..., Any], quick: list[Any], arguments: list[str]) -> None:
    shown = terminal(*quick, *arguments, TERM="dumb", columns=200)
    assert shown.wait() == 0
    assert ESC not in shown.raw.decode()
    assert shown.text.count("run.committed") == 6


def test_no_progress_wins(terminal: Callable[..., Any], quick: list[Any], tmp_path: Path) -> None:
    shown = terminal(*quick, "--dashboard", "--no-progress", columns=200, NO_COLOR="1")
    assert shown.wait() == 0
    assert ESC not in shown.raw.decode()
    assert shown.text.count("run.committed") == 6
    assert "display.not_shown" in shown.text
    assert not (tmp_path / "out" / "A" / "run.log").exists()


def test_a_bar_is_the_default(terminal: Callable[..., Any], slow: list[Any]) -> None:
    shown = terminal(*slow, columns=200)
    shown.until(r"sampling ━+.* 8/24 ")
    assert shown.wait() == 0
    assert shown.restored
    assert re.search(r"run\.started +output=\S+ samples=24 resumed=0\n", shown.text), "the bar must not tear a line"
    assert "sampling" not in shown.text


def test_the_bar_moves_within_a_batch(terminal: Callable[..., Any], quick: list[Any]) -> None:
    one_batch = (*quick, "--total-videos", "4", "--steps", "20", "--drift", "slow:seconds=0.06")
    shown = terminal(*one_batch, columns=100, NO_COLOR="1")
    first = shown.until(r"sampling (━+)\S* +0/4 ")
    shown.until(rf"sampling ━{{{len(first[1]) + 5},}}\S* +0/4 ")
    assert shown.wait() == 0


def test_colours_are_not_needed(terminal: Callable[..., Any], slow: list[Any]) -> None:
    shown = terminal(*slow, "--total-videos", "96", "--dashboard", NO_COLOR="1")
    shown.until(r"[1-9]\d* of 96 samples")
    shown.until("estimated images")
    shown.until("━─+")  # a bar without colours
    shown.press(b"\x03")
    assert shown.wait() == 130
    assert not re.search(rb"\x1b\[[0-9;]+m", shown.raw.replace(b"\x1b[0m", b""))


@pytest.mark.parametrize("arguments", [["--dashboard"], ["--dashboard", "--no-progress"], []])
def test_no_control_codes_in_a_pipe(
    cli: Callable[..., Any], quick: list[Any], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = cli(*quick, *arguments, "--json")
    assert done.code == 0
    assert ESC not in done.out + done.err
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["done"] for line in lines if line["event"] == "run.committed"] == [4, 8, 12, 16, 20, 24]
    assert any(line["event"] == "display.not_shown" for line in lines) == bool(arguments)
    assert json.loads(done.out)["samples"] == 24


FAILING = """
from emnist_diff import main
from emnist_diff_plugins.dashboard import dashboard

def fail(*arguments):
    raise ValueError("cannot be drawn")

dashboard.screen = fail
main()
"""


def test_a_dashboard_that_fails_goes_away_and_the_run_goes_on(terminal: Callable[..., Any], slow: list[Any]) -> None:
    shown = terminal(*slow, "--dashboard", columns=200, program=(sys.executable, "-c", FAILING))
    assert shown.wait() == 0
    assert shown.restored
    assert "emnist-diff: the dashboard stopped: ValueError: cannot be drawn" in shown.text
    assert shown.text.count("run.committed") == 6
    assert "24 samples of 'A' in" in shown.text


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell that controls jobs")
def test_a_job_in_the_background_gets_lines(quick: list[Any], terminal: Callable[..., Any]) -> None:
    job = " ".join(shlex.quote(str(part)) for part in [sys.executable, "-m", "emnist_diff", *quick, "--dashboard"])
    shown = terminal(f"set -m; {job} & wait; exit $?", program=["bash", "-c"], columns=200)
    assert shown.wait() == 0
    assert b"?1049" not in shown.raw
    assert "this is a background job" in shown.text
    assert shown.text.count("run.committed") == 6
