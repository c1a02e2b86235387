"""What does each sink cost? The share of a default run (10 samples, 50 steps) that is spent in it.

Run it from anywhere: ``python tests/benchmarks/video.py [--runs 3] [--threads 1] [--samples 10] [--steps 50]``. Every
sink takes part in the same run, and the seconds spent in each are added up; what is left is the walk. The share is of
walk and sink together, in wall time and in processor time, the median over the runs. A sink uses one thread; the more
the walk has, and the faster the device, the larger the share. The last lines say what the files take.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.discovery import installed
from emnist_diff.protocols import Sink
from emnist_diff.running.run import execute, prepare
from emnist_diff_plugins.layers import configure

SINKS = {
    "hdf5": "hdf5",
    "grid": "grid",
    "frames": "frames",
    "deltas": "deltas",
    "latents": "latents",
    "video": "video",
    "video (gif)": {"name": "video", "format": "gif"},
    "video (webp)": {"name": "video", "format": "webp"},
    "strip": "strip",
    "npz": "npz",
    "metadata": "metadata",
}


class Timed:
    """A sink in a directory of its own that adds up the seconds spent in it, (wall, processor)."""

    def __init__(self, name: str, sink: Sink) -> None:
        self._name, self._sink, self.seconds = name, sink, (0.0, 0.0)
        self.output: Path | None = None

    def open(self, header: Any) -> Any:
        self.output = header.output / self._name
        return self._timed(self._sink.open, attrs.evolve(header, output=self.output))

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._timed(getattr(self._sink, name), *arguments)

    def _timed(self, call: Any, *arguments: Any) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        try:
            return call(*arguments)
        finally:
            past, used = self.seconds
            self.seconds = (past + time.perf_counter() - wall, used + time.process_time() - processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    shares: dict[str, list[tuple[float, float]]] = {name: [] for name in SINKS}
    walks = []
    sizes: dict[str, tuple[int, int]] = {}
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            layer = {
                "total_videos": arguments.samples,
                "steps": arguments.steps,
                "threads": arguments.threads,
                "device": arguments.device,
                "output": folder,
                "sinks": list(SINKS.values()),
            }
            settings, _ = configure(installed(), {k: v for k, v in layer.items() if v is not None})
            assembly = prepare(installed(), settings)
            timed = [Timed(name, sink) for name, sink in zip(SINKS, assembly.sinks, strict=True)]
            wall, processor = time.perf_counter(), time.process_time()
            execute(attrs.evolve(assembly, sinks=tuple(timed)))
            wall = time.perf_counter() - wall - sum(sink.seconds[0] for sink in timed)
            processor = time.process_time() - processor - sum(sink.seconds[1] for sink in timed)
            walks.append((wall, processor))
            for name, sink in zip(SINKS, timed, strict=True):
                took, used = sink.seconds
                shares[name].append((took / (took + wall), used / (used + processor)))
                files = [p for p in sink.output.rglob("*") if p.is_file()] if sink.output else []
                sizes[name] = (len(files), sum(p.stat().st_size for p in files))
    wall, processor = (statistics.median(walk[i] for walk in walks) for i in (0, 1))
    print(f"walk: {wall:.2f} s, {processor:.2f} s of processor time; {os.cpu_count()} cores, {assembly.engine.device}")
    for name in SINKS:
        by_wall, by_processor = (statistics.median(share[i] for share in shares[name]) for i in (0, 1))
        files, size = sizes[name]
        print(
            f"{name:<13} {by_wall:6.2%} of the time, {by_processor:6.2%} of processor time; "
            f"{files:4d} files, {size / 1e6:6.2f} MB"
        )


if __name__ == "__main__":
    main()
