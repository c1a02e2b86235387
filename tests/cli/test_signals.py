"""Signals to a command at every moment: one line, the documented exit code, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

PLUGIN = """
import os
import signal
import time

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec, SinkSpec

import attrs

MOMENT = os.environ["MOMENT"]


def now(moment):
    if moment == MOMENT:
        signal.raise_signal(signal.SIGINT)


if MOMENT == "discovery":  # perhaps in a child, which looks at strangers' plugins first
    os.kill(int(os.environ["COMMAND"]), signal.SIGINT)
    time.sleep(5)


@hookimpl
def emnist_diff_sinks():
    yield SinkSpec(name="probe", factory="{module}:Probe", summary="for tests")


@hookimpl
def emnist_diff_drifts():
    yield DriftSpec(name="slow", factory="{module}:Slow", summary="for tests")


class Lost:
    def __del__(self):
        now("finalizer")


@attrs.define
class Slow:
    seconds: float = 0.05

    def __call__(self, x, step):
        time.sleep(self.seconds)
        return x


@attrs.define(eq=False)
class Probe:
    def __attrs_post_init__(self):
        now("assembling")
        if MOMENT == "import":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:  # as C code does that is interrupted while it is imported
                raise ImportError("half a module") from None
        Lost()
        if MOMENT == "finalizer":
            time.sleep(10)

    def wants(self, at):
        return frozenset()

    def open(self, header):
        now("opening")

    def write(self, frame):
        pass

    def commit(self, batch):
        pass

    def close(self, outcome):
        now("closing")
        if MOMENT == "closing twice":
            signal.raise_signal(signal.SIGINT)
            time.sleep(1.1)
            signal.raise_signal(signal.SIGINT)
"""


@pytest.fixture
def plugin(tmp_path) -> Path:
    path = tmp_path / f"probe_{uuid.uuid4().hex}.py"
    path.write_text(PLUGIN.replace("{module}", path.stem))
    return path


def arguments(plugin: Path, *more: str) -> list[str]:
    return [
        *("run", "--denoiser", "gaussian-mixture:shape=[1,4,4],classes=ABC", "--total-videos", "8", "--steps", "10"),
        *("--batch-size", "2", "--plugin-file", str(plugin), "--output", str(plugin.parent / "out"), *more),
    ]


@pytest.mark.parametrize(
    "moment", ["discovery", "import", "assembling", "opening", "closing", "closing twice", "finalizer"]
)
def test_ctrl_c_at_any_moment_is_one_line(cli, plugin, monkeypatch, moment):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("MOMENT", moment)
    monkeypatch.setenv("COMMAND", str(os.getpid()))
    ended = cli(*arguments(plugin, "--sink", "hdf5", "--sink", "probe", "--quiet"))
    if moment == "closing":  # everything is made already, and is being finished
        assert ended.code == 0
        assert all(line.startswith("{") for line in ended.err.splitlines()), ended.err
    else:
        assert (ended.code, ended.error) == (130, "emnist-diff: stopped")
    assert signal.getsignal(signal.SIGTERM) is before


def started(plugin: Path, *more: str, shell: str = "") -> subprocess.Popen[str]:
    """A run that walks for four seconds, in a process of its own."""
    command = [sys.executable, "-m", "emnist_diff", *arguments(plugin, "--sink", "hdf5", "--drift", "slow", *more)]
    return subprocess.Popen(
        ["sh", "-c", f'{shell} exec "$@"', "sh", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "MOMENT": ""},
    )  # fmt: skip


def until(process: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The first log event of this name."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("{") and json.loads(line)["event"] == event:
            return json.loads(line)
    pytest.fail(f"no {event}")


def test_sigusr1_has_a_run_say_how_far_it_is(plugin):
    process = started(plugin)
    until(process, "run.committed")
    process.send_signal(signal.SIGUSR1)
    said = until(process, "run.progress")
    assert said["done"] in (2, 4)
    assert said["total"] == 8
    assert re.fullmatch(r"\d of 10", str(said["step"]))
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP], ids=lambda n: n.name)
def test_sigusr2_and_a_hangup_stop_a_run_ready_to_resume(plugin, number):
    process = started(plugin)
    until(process, "run.committed")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(
        r"^emnist-diff: interrupted: [2-6] of 8 samples are committed in .* --resume to finish$", err, re.M
    )


def test_what_is_ignored_stays_ignored(plugin):
    process = started(plugin, shell="trap '' HUP;")
    until(process, "run.started")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert process.wait(60) == 0


@pytest.mark.parametrize(("name", "code", "err"), [("SIGUSR1", 0, ""), ("SIGUSR2", 130, "emnist-diff: stopped\n")])
def test_signals_for_runs_kill_no_other_command(name, code, err):
    program = (
        "import os, signal; from emnist_diff_plugins.terminal import app, main\n"
        "from emnist_diff_plugins.commands import plugins\n"
        "show = plugins.echo\n"
        "def say(*words):\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    show(*words)\n"
        "plugins.echo = say; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "plugins", "list"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (code, err)
