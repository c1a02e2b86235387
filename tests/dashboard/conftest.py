"""A terminal to run the dashboard in: a pty whose other end is a screen of characters."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import attrs
import pyte
import pytest

COMMAND = (sys.executable, "-m", "emnist_diff")

PLUGIN = """
import sys
import time

import attrs
import structlog

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import DriftSpec


@hookimpl
def emnist_diff_drifts():
    for name in ("slow", "broken", "loud"):
        yield DriftSpec(name=name, factory="{module}:" + name.title(), summary="for tests")


@attrs.define
class Slow:
    seconds: float = 0.02

    def __call__(self, x, step):
        time.sleep(self.seconds)
        return x


@attrs.define
class Broken:
    def __call__(self, x, step):
        assert step.at.index < 3, "too much"
        return x


@attrs.define
class Loud:
    def __call__(self, x, step):
        if step.at.index == 0 and step.sample_ids[0] == 0:
            print("printed\x1b[31m out of turn", file=sys.stderr)
            structlog.get_logger().warning("too.loud", by=3)
        return x
"""
"""Drifts that take their time, so that there is something to watch; that fail; and that talk."""


@attrs.define(eq=False)
class Terminal:
    """A running command and what its terminal shows; `raw` is everything it wrote."""

    pid: int
    handle: int
    screen: pyte.Screen
    stream: pyte.ByteStream
    raw: bytes = b""
    code: int | None = None

    def pump(self, seconds: float) -> bool:
        """Take what the command writes within `seconds`; False at its end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.handle], [], [], left)[0]:
                try:
                    data = os.read(self.handle, 65536)
                except OSError:  # how Linux says that the other end is closed
                    return False
                if not data:
                    return False
                self.raw += data
                self.stream.feed(data)
        return True

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until the screen shows `pattern`."""
        limit = time.monotonic() + seconds
        running = True
        while not (found := re.search(pattern, self.text)):
            assert running, f"the command ended; its screen:\n{self.text}"
            running = self.pump(0.05)  # what came with the end is looked at once more
            assert time.monotonic() < limit, f"no {pattern!r} on the screen:\n{self.text}"
        return found

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def press(self, keys: bytes) -> None:
        os.write(self.handle, keys)

    def wait(self, seconds: float = 60) -> int:
        """The exit code, after everything has been read."""
        limit = time.monotonic() + seconds
        while self.pump(0.1):
            assert time.monotonic() < limit, f"still running:\n{self.text}"
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def echoes(self) -> bool:
        """Whether typed keys appear."""
        return bool(termios.tcgetattr(self.handle)[3] & termios.ECHO)

    @property
    def restored(self) -> bool:
        """Whether the cursor is shown and the other screen was left."""
        at = {code: self.raw.rfind(code) for code in (b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25l", b"\x1b[?25h")}
        return at[b"\x1b[?1049l"] >= at[b"\x1b[?1049h"] and at[b"\x1b[?25h"] >= at[b"\x1b[?25l"] and self.echoes()


@pytest.fixture
def quick(tmp_path: Path) -> list[str | Path]:
    """Arguments of a run of 24 samples in batches of 4, 5 steps each."""
    plugin = tmp_path / f"drifts_{uuid.uuid4().hex}.py"  # a module is loaded once in a process
    plugin.write_text(PLUGIN.replace("{module}", plugin.stem))
    return [
        "run", "--denoiser", "gaussian-mixture:shape=[1,28,28],classes=ABC", "--steps", "5", "--total-videos", "24",
        "--batch-size", "4", "--sink", "hdf5", "--plugin-file", plugin, "--output", tmp_path / "out",
    ]  # fmt: skip


@pytest.fixture
def slow(quick: list[str | Path]) -> list[str | Path]:
    """The same, long enough to be watched: two seconds."""
    return [*quick, "--drift", "slow:seconds=0.06"]


def _become(arguments: list[str], environment: dict[str, str], program: Sequence[str]) -> NoReturn:
    """Turn this forked process into `program` on the terminal that it has. The copy of a process with threads is good
    for nothing else."""
    try:
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            os.environ.pop(name, None)
        os.environ.update({"TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **environment})
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP):  # a shell may have had them ignored
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(program[0], [*program, *arguments], dict(os.environ))  # the C library may know of more variables
    finally:
        os._exit(70)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start ``emnist-diff``, or another program, on a terminal of its own."""
    started: list[Terminal] = []

    def start(
        *arguments: str | Path,
        columns: int = 100,
        lines: int = 32,
        program: Sequence[str] = COMMAND,
        **environment: str,
    ) -> Terminal:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
            for number in range(3):
                os.dup2(theirs, number)
            _become([*map(str, arguments)], environment, program)
        os.close(theirs)
        screen = pyte.Screen(columns, lines)
        started.append(Terminal(pid, ours, screen, pyte.ByteStream(screen)))
        return started[-1]

    yield start
    for item in started:
        if item.code is None:
            os.kill(item.pid, signal.SIGKILL)
            os.waitpid(item.pid, 0)
        os.close(item.handle)
