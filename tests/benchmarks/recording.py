"""What does recording cost? 64 samples with the hdf5 sink (x, x0, prediction) beside the same run without a sink.

Run it from anywhere: ``python tests/benchmarks/recording.py [--pairs 5] [--steps 20] [--sink hdf5 --sink video]``.
Runs with the sinks in a thread of their own, with sinks asked inline, and without a sink are interleaved; a turn gives
one ratio, and the median of the ratios is the answer. On a busy machine the ratios scatter by more than recording
costs; two figures do not: the share of the time that is spent inside the sinks, and the share that the thread that
computes spends handing over, CPU time alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
from sidebyside import Timed

from emnist_diff import run
from emnist_diff.assembly import assemble, configure
from emnist_diff.parse import component
from emnist_diff.plugins import installed
from emnist_diff.recording import Inline, Overlapped, Recording
from emnist_diff.trajectory.verify import verify

FIELDS = ["x", "x0", "prediction"]


class Watched:
    """A way to the sinks, and the CPU seconds that the thread that computes has spent in it."""

    def __init__(self, way: Recording) -> None:
        self._way, self.seconds = way, 0.0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            started = time.thread_time()
            try:
                return getattr(self._way, name)(*arguments)
            finally:
                self.seconds += time.thread_time() - started

        return call


@attrs.frozen
class Measured:
    """Seconds of a run after the model is loaded; of the sinks; and of CPU time for handing over."""

    total: float
    inside: float
    handing: float


def measure(
    way: type[Inline] | type[Overlapped], sinks: list[object], output: Path, asked: argparse.Namespace
) -> Measured:
    layer = {"total_videos": asked.samples, "steps": asked.steps, "sinks": sinks, "output": str(output)}
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    timed = tuple(Timed(sink) for sink in assembly.sinks)
    watched = []

    def chosen(sinks: Any, device: Any, on_recorded: Any) -> Any:
        watched.append(Watched(way(sinks, on_recorded)))
        return watched[0]

    run.recording = chosen  # type: ignore[assignment]
    started = time.perf_counter()
    run.execute(attrs.evolve(assembly, sinks=timed))
    total = time.perf_counter() - started
    for path in output.rglob("*.h5"):
        assert verify(path) == [], "what was recorded is wrong, so its cost means nothing"
    return Measured(total, sum(sink.seconds for sink in timed), watched[0].seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--sink", action="append", help="in place of hdf5")
    asked = parser.parse_args()
    sinks: list[object] = [component(said, "--sink") for said in asked.sink or ()] or [
        {"name": "hdf5", "fields": FIELDS}
    ]
    kinds = {"without a sink": (Inline, []), "inline": (Inline, sinks), "overlapped": (Overlapped, sinks)}
    found: dict[str, list[Measured]] = {name: [] for name in kinds}
    for turn in range(asked.pairs):
        order = [*kinds][turn % 3 :] + [*kinds][: turn % 3]
        for name in order:
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(measure(*kinds[name], Path(folder), asked))
    print(f"{asked.samples} samples, {asked.steps} steps, {asked.pairs} interleaved turns")
    for name, runs in found.items():
        ratios = [a.total / b.total for a, b in zip(runs, found["without a sink"], strict=True)]
        shown = f"{name:<16} median {statistics.median(m.total for m in runs):8.3f} s"
        if name != "without a sink":
            shown += f"   ratio {statistics.median(ratios):.4f} ({min(ratios):.4f} … {max(ratios):.4f})"
            shown += f"   inside the sinks {statistics.median(m.inside / m.total for m in runs):.2%}"
            shown += f"   handing over {statistics.median(m.handing / m.total for m in runs):.2%}"
        print(shown)


if __name__ == "__main__":
    main()
