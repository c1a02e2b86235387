"""Give hostile inputs to commands in processes of their own, and judge how they end.

A command must end with a documented exit code, within 30 seconds and 1 GiB, and with one line of bounded length on
stderr unless it succeeded (beside lines of its log); without a traceback, a signal, or a control character on the
terminal.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

MEMORY = 1 << 30
SECONDS = 30.0
LONGEST_LINE = 4096
"""Characters; a message has at most 2000, and names may stand in escapes."""

ENDINGS = {0, 1, 2, 3, 4, 5, 6, 7, 8}


@attrs.frozen
class Input:
    """Something hostile, and the commands that it is for, by name.

    before: makes it, anew for each command.  site: a folder of Python packages to be installed with.
    environment: variables.  may_hang: a library's own endless loop is not held against a command.
    prints: whole lines that the input itself prints, which are none of the command's.
    """

    what: str
    commands: tuple[tuple[str, tuple[str, ...]], ...]
    before: Callable[[], object] = lambda: None
    site: Path | None = None
    environment: dict[str, str] = attrs.field(factory=dict)
    may_hang: bool = False
    prints: frozenset[str] = frozenset()


@attrs.frozen
class Ending:
    """How a command ended: what was wrong (nothing: ""), bytes of memory, and seconds."""

    problem: str
    used: int
    seconds: float


def in_child(work: Callable[[], object]) -> None:
    """Do this in a fork of this process, and wait for it. Raises `RuntimeError` when it fails."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("what the inputs are made from could not be made")


def siege(inputs: Iterable[Input], scratch: Path) -> tuple[Counter[str], list[str]]:
    """Give each input to its commands; counts, and what went wrong."""
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    most, longest = 0, 0.0
    for number, item in enumerate(inputs):
        seen["inputs"] += 1
        for name, arguments in item.commands:
            item.before()
            end = attempt(list(arguments), scratch, item)
            most, longest = max(most, end.used), max(longest, end.seconds)
            seen["commands"] += 1
            seen[f"of {name}"] += 1
            if end.problem.startswith("endless") and item.may_hang:
                seen["commands in which HDF5 itself did not end"] += 1
            elif end.problem:
                wrong.append(f"input {number}, {item.what}, {name}: {end.problem}")
                print(f"  {wrong[-1][:600]}", file=sys.stderr, flush=True)
    seen["most memory of a command, MB"] = most // 1_000_000
    seen["longest command, seconds"] = round(longest)
    return seen, wrong


def attempt(arguments: list[str], scratch: Path, item: Input) -> Ending:
    """Run a command in a fork of this process."""
    files = [scratch / name for name in ("out", "err", "report")]
    for file in files:
        file.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        _call(arguments, files, item)
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began > SECONDS * _patience():
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Ending("endless", 0, time.monotonic() - began)
        time.sleep(0.002)
    seconds, used = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    out, err = (file.read_bytes()[: 1 << 22].decode("utf-8", "replace") if file.exists() else "" for file in files[:2])
    if os.WIFSIGNALED(status):
        return Ending(f"signal {os.WTERMSIG(status)}: {err[-300:]}", used, seconds)
    if not files[2].exists():
        return Ending(f"ended without a word: {os.waitstatus_to_exitcode(status)} {err[-300:]}", used, seconds)
    return Ending(judged(files[2].read_text(), out, err, used, seconds, item.prints), used, seconds)


def _patience() -> float:
    """A busy machine gives less than its whole time."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def judged(code: str, out: str, err: str, used: int, seconds: float, prints: frozenset[str] = frozenset()) -> str:
    """What is wrong with this ending; nothing: ""."""
    lines = [line for line in err.splitlines() if not line.startswith('{"') and line not in prints]
    if not code.isdecimal() or int(code) not in ENDINGS:
        return f"exit code {code}: {err[-600:]}"
    if "Traceback (most" in err or "is a fault of emnist-diff" in err:
        return f"exit code {code}: {err[-900:]}"
    if "MemoryError" in err or "Unable to allocate" in err or used > MEMORY:
        return f"{used >> 20} MiB: {err[-300:]}"
    if seconds > SECONDS:
        return f"{seconds:.0f} seconds: {err[-300:]}"
    usage = lines[:1] and lines[0].startswith("Usage: ")
    if int(code) > 1 and len(lines) != 1 and not usage:
        return f"{len(lines)} lines for exit code {code}: {err[:600]}"
    if long := [line for line in err.splitlines() if len(line) > LONGEST_LINE]:
        return f"a line of {len(long[0])} characters: {long[0][:200]}"
    if odd := {c for c in out + err if not c.isprintable() and c != "\n"}:
        return f"characters {sorted(odd)} on the terminal: {(out + err)[:300]!r}"
    if "root:" in out + err:
        return "another file's text reached the terminal"
    return ""


def _call(arguments: list[str], files: list[Path], item: Input) -> None:
    """In the child: run the command, and write down how it ended."""
    for number, file in enumerate(files[:2], 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=False) for n in (1, 2))  # noqa: SIM115
    code: Any = 0
    try:
        _confine(item)
        from emnist_diff import main

        sys.argv = ["emnist-diff", *arguments]
        main()
    except SystemExit as end:
        code = 0 if end.code is None else end.code
    except BaseException as error:
        code = f"traceback {type(error).__name__}"
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    files[2].write_text(str(code))
    os._exit(0)


def _confine(item: Input) -> None:
    from emnist_diff.discovery import installed
    from emnist_diff_plugins.terminal import isolation

    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.update(item.environment)
    if item.site is not None:
        sys.path.insert(0, str(item.site))
        os.environ.pop("EMNIST_DIFF_PLUGINS", None)
        installed.cache_clear()
        isolation.PATIENCE = 2.0
