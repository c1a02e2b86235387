"""A run without a network, which commits a sample for each line of its standard input: ``python live_run.py FILE``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emnist_diff.frames import RunHeader
from emnist_diff.timeline import Timeline
from emnist_diff_trajectory.schema import Capture, arrays
from emnist_diff_trajectory.writer import TrajectoryWriter

FIELDS = Capture(frozenset({"x", "x0", "prediction"}))


def header(samples: int, side: int, steps: int) -> RunHeader:
    """Of a run of one class, without forces and drifts."""
    alpha_bar = np.linspace(0.001, 0.99, steps)
    return RunHeader(
        output=Path(),
        config={"seed": 1, "total_videos": samples},
        environment={},
        timeline=Timeline(np.arange(steps)[::-1].astype(float), alpha_bar, np.append(alpha_bar[1:], 1.0)),
        shape=(1, side, side),
        image_shape=(1, side, side),
        sample_ids=np.arange(samples, dtype=np.int64),
        labels=np.zeros(samples, np.int64),
        seeds=np.ones(samples, np.uint64),
        classes=("A",),
        forces=(),
        drifts=(),
        force_weights=np.zeros((0, steps)),
    )


class LiveRun:
    """A file that is written sample by sample; the state of sample s at column c is s / 10 - 1 everywhere but for a
    pixel that moves with c."""

    def __init__(self, path: Path, samples: int, side: int = 16, steps: int = 8) -> None:
        self.header = header(samples, side, steps)
        self.writer = TrajectoryWriter.create(path, self.header, FIELDS)

    def commit(self, positions: Sequence[int]) -> None:
        """Commit these samples."""
        rows: dict[str, np.ndarray] = {}
        for array in arrays(self.header, FIELDS):
            values = np.zeros((len(positions), *array.shape[1:]), array.dtype)
            if array.name != "images":
                values += np.reshape(positions, (-1, *[1] * (values.ndim - 1))) / 10 - 1
                for column in range(values.shape[1]):
                    values[:, column, 0, 0, column % values.shape[-1]] = 1
            rows[array.name] = values
        self.writer.commit(positions, rows)


if __name__ == "__main__":
    run = LiveRun(Path(sys.argv[1]), samples=5)
    run.commit([0])
    print("ready", flush=True)
    for position, _ in enumerate(sys.stdin, 1):
        run.commit([position])
    run.writer.close()
