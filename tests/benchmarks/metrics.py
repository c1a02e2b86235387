"""What do the metrics cost? A file of many samples measured afterwards, and the share of a run that the sink takes.

Run it from anywhere: ``python tests/benchmarks/metrics.py [--samples 1000] [--steps 50] [--live 32]``. The file is made
with the analytic mixture, 28×28, with a force; the live run uses the shipped checkpoint at its recommended steps.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
from sidebyside import Timed

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute
from emnist_diff_plugins.layers import configure

MIXTURE = {"name": "gaussian-mixture", "shape": [1, 28, 28], "classes": "ABCDEFGH"}
FORCE = {"name": "attract_class", "target": "B"}


def run(layer: dict[str, Any], output: Path) -> tuple[float, float]:
    """Seconds of a run, and of its sinks."""
    settings, _ = configure(installed(), {**layer, "output": str(output)})
    assembly = assemble(installed(), settings)
    sinks = tuple(Timed(sink) for sink in assembly.sinks)
    started = time.perf_counter()
    execute(attrs.evolve(assembly, sinks=sinks))
    return time.perf_counter() - started, sum(sink.seconds for sink in sinks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--live", type=int, default=32, help="samples of the live run; 0 for none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        layer = {"denoiser": MIXTURE, "character": "all", "total_videos": options.samples, "steps": options.steps}
        run({**layer, "forces": [FORCE], "sinks": ["hdf5"]}, Path(folder))
        file = next(Path(folder).rglob("trajectory.h5"))
        print(f"file: {options.samples} samples, {options.steps} steps, {file.stat().st_size / 1e6:.0f} MB")
        for more in ([], ["--scorers", "none"], ["--basin", "own"]):
            command = [sys.executable, "-m", "emnist_diff", "metrics", str(file), "--overwrite", *more]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            peak = after.ru_maxrss / 1024
            print(
                f"metrics {' '.join(more) or '(default)'}: {wall:.1f} s, {cpu:.1f} s of CPU, peak so far {peak:.0f} MiB"
            )
        if options.live:
            layer = {"character": "A,B", "total_videos": options.live, "forces": [FORCE], "sinks": ["metrics"]}
            total, mine = run(layer, Path(folder) / "live")
            print(f"sink: {mine:.2f} s of {total:.1f} s, {mine / total:.2%} of a run of {options.live} samples")


if __name__ == "__main__":
    main()
