"""How does joining workers' files grow with their number? CPU seconds of `merge`, with and without copies, and of
opening the index, for 50, 100, 200 and 400 files of two samples.

Run it from anywhere: ``python tests/benchmarks/merging.py [--files 50 100 200 400]``.
The last column is CPU seconds a file: it should not grow.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from emnist_diff.discovery import installed
from emnist_diff.running.run import run
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.merge import merge, worker_files
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.select import select

SETTINGS = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 8, 8], "classes": "ABC"},
    "forces": [{"name": "attract_class", "target": "B", "weight": 0.5}],
    "character": "A",
    "steps": 3,
    "sinks": ["hdf5"],
}


def worker_share(folder: Path, count: int) -> list[Path]:
    """A run of twice as many samples as files, dealt out to files as to workers."""
    settings, _ = configure(installed(), SETTINGS | {"total_videos": 2 * count, "output": str(folder / "alone")})
    whole = run(settings).output / "trajectory.h5"
    with Trajectory(whole) as trajectory:
        for rank in range(count):
            samples = np.arange(rank, 2 * count, count)
            select(trajectory, samples, folder / f"trajectory-{rank:04d}-of-{count:04d}.h5")
    return worker_files(folder)


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--files", type=int, nargs="+", default=[50, 100, 200, 400])
    print("files  index  --copy  open  index/file")
    for count in words.parse_args().files:
        with tempfile.TemporaryDirectory() as folder:
            files = worker_share(Path(folder), count)
            index, copy = Path(folder) / "index.h5", Path(folder) / "copy.h5"
            joined = seconds(lambda files=files, index=index: merge(files, index))
            copied = seconds(lambda files=files, copy=copy: merge(files, copy, copy=True))
            opened = seconds(lambda index=index: Trajectory(index).close())
        print(f"{count:5d} {joined:6.2f} {copied:7.2f} {opened:5.2f} {joined / count:11.4f}", flush=True)


if __name__ == "__main__":
    main()
