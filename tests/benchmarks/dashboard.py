"""What does the dashboard cost? The same run with it, on a terminal that somebody reads, and with log lines alone.

Run it from anywhere: ``python tests/benchmarks/dashboard.py [--pairs 5] [--steps 10] [--size 120x44]``. The two kinds
of run are interleaved; each pair gives one ratio of wall times, and the median of the ratios is the answer. On a busy
machine the ratios scatter by more than the dashboard costs; the processor time that its own thread and its sink use,
as a share of the run's wall time, does not.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import statistics
import struct
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import structlog

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute
from emnist_diff_plugins.dashboard.dashboard import Dashboard
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.terminal import logging


class Busy:
    """Adds up the processor time that a thread spends in a method."""

    def __init__(self, owner: Any, name: str) -> None:
        self.seconds, self.calls, method = 0.0, 0, getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            began = time.thread_time()
            try:
                return method(*arguments)
            finally:
                self.seconds, self.calls = self.seconds + time.thread_time() - began, self.calls + 1

        setattr(owner, name, timed)


def measure(size: tuple[int, int] | None, output: Path, steps: int, samples: int) -> tuple[float, float, float, float]:
    """Wall time of the walk; the painter's and the sink's share of it; pictures a second. Without a `size`, without
    the dashboard."""
    layer = {"total_videos": samples, "steps": steps, "character": "A,B,e,8", "output": str(output)}
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    if size is None:
        logging.configure()
        return (
            execute(assembly, on_commit=lambda done, total: structlog.get_logger().info("committed")).seconds,
            0,
            0,
            0,
        )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    threading.Thread(target=drain, args=(ours,), daemon=True).start()
    with open(theirs, "w", encoding="utf-8") as stream:
        board = Dashboard(stream)
        logging.configure(tap=board.log.event)
        painter = Busy(board, "_draw")
        sink = [Busy(board.sink, "write"), Busy(board.sink, "commit")]
        seconds = execute(attrs.evolve(assembly, sinks=(*assembly.sinks, board.sink))).seconds
        board.close()
    return seconds, painter.seconds / seconds, sum(b.seconds for b in sink) / seconds, painter.calls / seconds


def drain(handle: int) -> None:
    """Read what the terminal shows, as a terminal does."""
    try:
        while os.read(handle, 65536):
            pass
    except OSError:  # how Linux says that the other end is closed
        os.close(handle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--size", default="120x44")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    runs: dict[bool, list[tuple[float, ...]]] = {True: [], False: []}
    for pair in range(arguments.pairs):
        for dashboard in (True, False) if pair % 2 else (False, True):
            with tempfile.TemporaryDirectory() as folder:
                size = (width, height) if dashboard else None
                runs[dashboard].append(measure(size, Path(folder), arguments.steps, arguments.samples))
    ratios = [a[0] / b[0] for a, b in zip(runs[True], runs[False], strict=True)]
    median = [statistics.median(column) for column in zip(*runs[True], strict=True)]
    print(
        f"{arguments.samples} samples, {arguments.steps} steps, {arguments.size}, {arguments.pairs} interleaved pairs"
    )
    print(f"log lines        median {statistics.median(run[0] for run in runs[False]):8.3f} s")
    print(f"dashboard        median {median[0]:8.3f} s, {median[3]:.1f} pictures a second")
    print(f"ratio            median {statistics.median(ratios):8.4f}   (min {min(ratios):.4f}, max {max(ratios):.4f})")
    print(f"processor time   drawing {median[1]:.2%}, watching {median[2]:.2%} of the wall time")


if __name__ == "__main__":
    main()
