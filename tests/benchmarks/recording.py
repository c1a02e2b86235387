"""What does recording cost? 64 samples with the hdf5 sink (x, x0, prediction) beside the same run without a sink.

Run it from anywhere: ``python tests/benchmarks/recording.py [--pairs 5] [--steps 20]``. The two kinds of run are
interleaved; each pair gives one ratio, and the median of the ratios is the answer. On a busy machine the ratios
scatter by more than recording costs; the share of the time that is spent inside the sink does not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly import assemble, configure
from emnist_diff.plugins import installed
from emnist_diff.protocols import Sink
from emnist_diff.run import execute
from emnist_diff.trajectory.verify import verify

FIELDS = ["x", "x0", "prediction"]


class Timed:
    """A sink that adds up the seconds spent in another."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self.seconds = sink, 0.0

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return getattr(self._sink, name)(*arguments)
            finally:
                self.seconds += time.perf_counter() - started

        return call


def measure(sinks: list[object], output: Path, steps: int, samples: int) -> tuple[float, float]:
    """Wall time of the walk and of everything the sinks do, without loading the model; and of the sinks alone."""
    layer = {"total_videos": samples, "steps": steps, "sinks": sinks, "output": str(output)}
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    timed = tuple(Timed(sink) for sink in assembly.sinks)
    started = time.perf_counter()
    execute(attrs.evolve(assembly, sinks=timed))
    total = time.perf_counter() - started
    for path in output.rglob("*.h5"):
        assert verify(path) == [], "what was recorded is wrong, so its cost means nothing"
    return total, sum(sink.seconds for sink in timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--samples", type=int, default=64)
    arguments = parser.parse_args()
    with_sink, without, shares = [], [], []
    hdf5 = {"name": "hdf5", "fields": FIELDS}
    for pair in range(arguments.pairs):
        order = [True, False] if pair % 2 else [False, True]
        for record in order:
            with tempfile.TemporaryDirectory() as folder:
                took, inside = measure([hdf5] if record else [], Path(folder), arguments.steps, arguments.samples)
            (with_sink if record else without).append(took)
            shares += [inside / took] if record else []
    ratios = [a / b for a, b in zip(with_sink, without, strict=True)]
    print(f"{arguments.samples} samples, {arguments.steps} steps, {arguments.pairs} interleaved pairs")
    print(f"without a sink   median {statistics.median(without):8.3f} s")
    print(f"hdf5             median {statistics.median(with_sink):8.3f} s")
    print(f"ratio            median {statistics.median(ratios):8.4f}   (min {min(ratios):.4f}, max {max(ratios):.4f})")
    print(f"inside the sink  median {statistics.median(shares):8.2%}   (min {min(shares):.2%}, max {max(shares):.2%})")


if __name__ == "__main__":
    main()
