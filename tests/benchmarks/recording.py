"""What does recording cost? 64 samples with the hdf5 sink (x, x0, prediction) beside the same run without a sink.

Run it from anywhere: ``python tests/benchmarks/recording.py [--pairs 5] [--steps 20]``. The two kinds of run are
interleaved; each pair gives one ratio, and the median of the ratios is the answer.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from emnist_diff.assembly import assemble, configure
from emnist_diff.plugins import installed
from emnist_diff.run import execute

FIELDS = ["x", "x0", "prediction"]


def seconds(sinks: list[object], output: Path, steps: int, samples: int) -> float:
    """Wall time of the walk and of everything the sinks do, without loading the model."""
    layer = {"total_videos": samples, "steps": steps, "sinks": sinks, "output": str(output)}
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    started = time.perf_counter()
    execute(assembly)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--samples", type=int, default=64)
    arguments = parser.parse_args()
    with_sink, without = [], []
    hdf5 = {"name": "hdf5", "fields": FIELDS}
    for pair in range(arguments.pairs):
        order = [True, False] if pair % 2 else [False, True]
        for record in order:
            with tempfile.TemporaryDirectory() as folder:
                took = seconds([hdf5] if record else [], Path(folder), arguments.steps, arguments.samples)
            (with_sink if record else without).append(took)
    ratios = [a / b for a, b in zip(with_sink, without, strict=True)]
    print(f"{arguments.samples} samples, {arguments.steps} steps, {arguments.pairs} interleaved pairs")
    print(f"without a sink   median {statistics.median(without):8.3f} s")
    print(f"hdf5             median {statistics.median(with_sink):8.3f} s")
    print(f"ratio            median {statistics.median(ratios):8.4f}   (min {min(ratios):.4f}, max {max(ratios):.4f})")


if __name__ == "__main__":
    main()
