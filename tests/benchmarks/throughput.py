"""Is the trajectory file fast enough, and does it stay out of the way at size?

    python tests/benchmarks/throughput.py [--pairs 7] [--samples 10000]

Write: what the writer takes for a batch's bytes beside what `numpy.save` takes for the same, interleaved in one run;
each pair gives one ratio, the median is the answer (at least 0.5).  Memory: resident memory of the hdf5 sink after a
tenth and after all of so many samples of 51 frames in float16, each given to the sink as a run gives them.  Inspect:
CPU time of ``emnist-diff inspect`` on a file of 5 GB, imports and all (under 1 s); most of its states are holes of a
sparse file, which read as zeros.  Read: a random sample's states from a memory map (at most 1 ms).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.timeline import StepInfo, Timeline
from emnist_diff_plugins.sinks.hdf5 import Hdf5Sink
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.writer import TrajectoryWriter

STEPS, SHAPE, BATCH = 50, (1, 28, 28), 64


def header(output: Path, samples: int) -> RunHeader:
    """A run of so many samples, without a network."""
    alpha_bar = np.linspace(0.01, 0.99, STEPS)
    timeline = Timeline(np.arange(STEPS)[::-1] * 20.0, alpha_bar, np.append(alpha_bar[1:], 1.0))
    zeros = np.zeros(samples, np.int64)
    return RunHeader(
        output, {"total_videos": samples}, {}, timeline, SHAPE, SHAPE, np.arange(samples), zeros,
        zeros.astype(np.uint64), ("A",), (), (), np.zeros((0, STEPS)),
    )  # fmt: skip


def write_speed(folder: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of the writer and of `numpy.save`, for the same bytes: x, x0 and prediction of a batch, and images."""
    random = np.random.default_rng(0)
    capture = Capture(frozenset({"x", "x0", "prediction"}))
    states = random.normal(size=(BATCH, STEPS + 1, *SHAPE)).astype(np.float32)
    data: dict[str, Any] = {
        "trajectory/x": states,
        "trajectory/x0": states[:, :-1].copy(),
        "trajectory/prediction": states[:, 1:].copy(),
        "images": np.zeros((BATCH, *SHAPE[1:]), np.uint8),
    }
    writer = TrajectoryWriter.create(folder / "t.h5", header(folder, BATCH * pairs), capture)

    def record(pair: int) -> None:
        writer.commit(range(pair * BATCH, (pair + 1) * BATCH), data)

    def save(pair: int) -> None:
        for number, values in enumerate(data.values()):
            np.save(folder / f"{pair}-{number}.npy", values)

    took: dict[Callable[[int], None], list[float]] = {record: [], save: []}
    for pair in range(pairs):
        for way in (record, save) if pair % 2 else (save, record):
            started = time.perf_counter()
            way(pair)
            took[way].append(time.perf_counter() - started)
    writer.close()
    return took[record], took[save]


def resident() -> int:
    """Bytes of this process in memory that are its own: pages of mapped and cached files are not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory(folder: Path, samples: int) -> tuple[int, int, int, float]:
    """Resident bytes after the first batches, after a tenth and after all samples; and seconds."""
    sink = Hdf5Sink(fields=("x",), dtype="float16")
    told = header(folder / "memory", samples)
    sink.open(told)
    marks = []
    random = torch.Generator().manual_seed(0)
    started = time.perf_counter()
    for first in range(0, samples, BATCH):
        positions = tuple(range(first, min(first + BATCH, samples)))
        x = torch.randn(len(positions), *SHAPE, generator=random)
        for step in range(STEPS):
            at = StepInfo(step, STEPS, 0.0, 0.5, 0.6)
            sink.write(Frame(at, positions, {"x": x + step / STEPS}))
        sink.commit(BatchResult(positions, x, torch.zeros(len(positions), *SHAPE)))
        if first // BATCH in (3, samples // BATCH // 10):
            marks.append(resident())
    marks.append(resident())
    sink.close(Outcome.COMPLETED)
    with Trajectory(told.output / "trajectory.h5") as trajectory:
        assert len(trajectory.committed) == samples
    return marks[0], marks[1], marks[2], time.perf_counter() - started


def large_file(folder: Path) -> Path:
    """A file of 5 GB whose states are holes: what a reader has to get through is there, the bytes are not."""
    path = folder / "large.h5"
    samples = int(5e9 / (np.prod(SHAPE) * 2 * (STEPS + 1)))
    small = folder / "small.h5"
    TrajectoryWriter.create(small, header(folder, 1), Capture(frozenset({"x"}), "float16")).close()
    with h5py.File(small) as source, h5py.File(path, "w") as file:
        for key, value in source.attrs.items():
            file.attrs[key] = value
        for name in ("config", "environment", "schedule", "plugins"):
            source.copy(name, file)
        file["samples/classes"] = source["samples/classes"][...].tolist()
        for name in ("id", "seed", "label", "steps_done"):
            file[f"samples/{name}"] = np.arange(samples) if name == "id" else np.zeros(samples, np.int64)
        file["samples/steps_done"][...] = STEPS
        file["trajectory/step"], file["trajectory/sample"] = np.arange(STEPS), np.arange(samples)
        for name, shape, kind in (
            ("trajectory/x", (samples, STEPS + 1, *SHAPE), "f2"),
            ("images", (samples, *SHAPE[1:]), "u1"),
        ):
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_layout(h5py.h5d.CONTIGUOUS)
            properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple(shape)
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(kind)), space, properties)
    return path


def cpu_of(command: list[str]) -> float:
    """CPU seconds, user and system, of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def read_times(path: Path, count: int = 200) -> list[float]:
    """Seconds to copy the states of random samples from a memory map."""
    random = np.random.default_rng(1)
    times = []
    with Trajectory(path) as trajectory:
        mapped = trajectory.mmap("x")
        for row in random.integers(0, len(mapped), count):
            started = time.perf_counter()
            np.array(mapped[row])
            times.append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--samples", type=int, default=10_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorded, saved = write_speed(folder, arguments.pairs)
        ratios = [save / record for record, save in zip(recorded, saved, strict=True)]
        size = BATCH * (3 * STEPS + 1) * int(np.prod(SHAPE)) * 4 / 1e6
        print(f"write    {size:.0f} MB: hdf5 {size / statistics.median(recorded):.0f} MB/s", end="")
        print(f", numpy.save {size / statistics.median(saved):.0f} MB/s", end="")
        print(f", ratio median {statistics.median(ratios):.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")

        first, tenth, last, seconds = memory(folder, arguments.samples)
        growth = f"{first / 1e6:.0f} → {tenth / 1e6:.0f} → {last / 1e6:.0f} MB"
        print(f"memory   {arguments.samples} samples × {STEPS + 1} frames, float16: {growth} in {seconds:.0f} s")

        times = read_times(folder / "memory" / "trajectory.h5")
        print(f"read     a sample of a memory map: median {statistics.median(times) * 1e3:.3f} ms", end="")
        print(f", slowest of {len(times)} {max(times) * 1e3:.3f} ms")
        os.unlink(folder / "memory" / "trajectory.h5")

        path = large_file(folder)
        spent = [cpu_of([sys.executable, "-m", "emnist_diff", "inspect", str(path)]) for _ in range(3)]
        print(f"inspect  {path.stat().st_size / 1e9:.2f} GB: {min(spent):.2f} s of CPU, best of 3")


if __name__ == "__main__":
    main()
