"""What does recording cost? 64 samples with the hdf5 sink (x, x0, prediction) beside the same run without a sink.

Run it from anywhere: ``python tests/benchmarks/recording.py [--pairs 5] [--steps 20] [--sink hdf5 --sink video]``.
Runs with the sinks in a thread of their own, with sinks asked inline, and without a sink are interleaved; a turn gives
one ratio, and the median of the ratios is the answer. On a busy machine the ratios scatter by more than recording
costs; two figures do not: the share of the time that is spent inside the sinks, and the share that the thread that
computes spends handing over, CPU time alone.

``--commits 30`` measures the commits of 16 samples alone, on the disk of ``--folder``: waiting for the disk, not
waiting, and written and flushed by HDF5, which knows less of what was refused.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
from sidebyside import Timed

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.frames import RunHeader
from emnist_diff.running import run
from emnist_diff.running.recording import Overlap, Recording
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.overlap.recording import Overlapped
from emnist_diff_plugins.parse import component
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.schema import arrays as trajectory_arrays
from emnist_diff_trajectory.verify import verify
from emnist_diff_trajectory.writer import TrajectoryWriter

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
    way: type[Recording] | type[Overlapped], sinks: list[object], output: Path, asked: argparse.Namespace
) -> Measured:
    layer = {"total_videos": asked.samples, "steps": asked.steps, "sinks": sinks, "output": str(output)}
    settings, _ = configure(installed(), layer)
    assembly = assemble(installed(), settings)
    timed = tuple(Timed(sink) for sink in assembly.sinks)
    watched = []

    class Chosen(Overlap):
        def recording(self, sinks: Any, device: Any, on_recorded: Any, cpus: int) -> Any:
            watched.append(Watched(way(sinks, on_recorded)))
            return watched[0]

    run.overlap_of = lambda registry: Chosen()  # type: ignore[assignment]
    started = time.perf_counter()
    run.execute(attrs.evolve(assembly, sinks=timed))
    total = time.perf_counter() - started
    for path in output.rglob("*.h5"):
        assert verify(path) == [], "what was recorded is wrong, so its cost means nothing"
    return Measured(total, sum(sink.seconds for sink in timed), watched[0].seconds)


def commits(count: int, folder: Path) -> None:
    """Print how long commits take, interleaved, and what waiting for the disk costs of it."""
    rows, steps, shape = 16, 50, (1, 28, 28)
    level = np.linspace(0.01, 0.9, steps)
    ids = np.arange(rows * count, dtype=np.int64)
    header = RunHeader(
        folder, {}, {}, Timeline(level, level, level), shape, shape, ids, ids * 0, ids.astype(np.uint64) * 0, ("A",),
        (), (), np.zeros((0, steps)),
    )  # fmt: skip
    capture = Capture(frozenset({"x", "x0", "prediction"}))
    draw = np.random.default_rng(0)
    data = {
        a.name: draw.integers(0, 255, (rows, *a.shape[1:])).astype(a.dtype) for a in trajectory_arrays(header, capture)
    }
    synced = TrajectoryWriter.create(folder / "synced.h5", header, capture)
    unsynced = TrajectoryWriter.create(folder / "unsynced.h5", attrs.evolve(header, fsync=False), capture)
    TrajectoryWriter.create(folder / "hdf5.h5", header, capture).close()
    found: dict[str, list[float]] = {}
    with h5py.File(folder / "hdf5.h5", "r+") as file:

        def by_hdf5(positions: range, data: dict[str, Any]) -> None:
            for name, values in data.items():
                file[name][positions.start : positions.stop] = values
            file.flush()
            file["samples/steps_done"][positions.start : positions.stop] = steps
            file.flush()

        ways = {"waiting for the disk": synced.commit, "not waiting": unsynced.commit, "by HDF5": by_hdf5}
        for number in range(count):
            for name in [*ways][number % 3 :] + [*ways][: number % 3]:
                started = time.perf_counter()
                ways[name](range(number * rows, (number + 1) * rows), data)
                found.setdefault(name, []).append(1000 * (time.perf_counter() - started))
    synced.close()
    unsynced.close()
    print(f"{count} commits of {rows} samples, {sum(v.nbytes for v in data.values()) / 1e6:.1f} MB each")
    for name, each in found.items():
        print(f"{name:<22} median {statistics.median(each):7.2f} ms   ({min(each):.2f} … {max(each):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--sink", action="append", help="in place of hdf5")
    parser.add_argument("--commits", type=int, help="measure so many commits, and nothing else")
    parser.add_argument("--folder", type=Path, help="where commits are measured")
    asked = parser.parse_args()
    if asked.commits:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            commits(asked.commits, Path(folder))
        return
    sinks: list[object] = [component(said, "--sink") for said in asked.sink or ()] or [
        {"name": "hdf5", "fields": FIELDS}
    ]
    kinds = {"without a sink": (Recording, []), "inline": (Recording, sinks), "overlapped": (Overlapped, sinks)}
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
