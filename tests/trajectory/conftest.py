"""Runs for the tests of the trajectory file: headers and data without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff.frames import FIELDS, RunHeader
from emnist_diff.timeline import Timeline
from emnist_diff_trajectory.schema import Capture, arrays
from emnist_diff_trajectory.writer import TrajectoryWriter

EVERYTHING = frozenset(FIELDS)


class Run:
    """A run that can be recorded: its header, and for each sample data that depends on nothing but its position."""

    def __init__(self, samples: int, steps: int, shape: tuple[int, ...], image_shape: tuple[int, ...], forces: int):
        alpha_bar = np.linspace(0.01, 0.9, steps)
        self.header = RunHeader(
            output=Path(),
            config={"seed": 2**64 - 1, "total_videos": samples},
            environment={"threads": 1},
            timeline=Timeline(np.arange(steps)[::-1].astype(float), alpha_bar, np.append(alpha_bar[1:], 1.0)),
            shape=shape,
            image_shape=image_shape,
            sample_ids=np.arange(samples, dtype=np.int64) + 100,
            labels=np.arange(samples, dtype=np.int64) % 2,
            seeds=np.full(samples, 2**64 - 1, np.uint64),
            classes=("A", "é"),
            forces=tuple(f"push{i}" for i in range(forces)),
            drifts=("walk",),
            force_weights=np.arange(forces * steps, dtype=float).reshape(forces, steps),
        )

    def data(self, positions: Sequence[int], fields: frozenset[str] = EVERYTHING) -> dict[str, Any]:
        """Rows for `commit`; the ledger adds up and the images show the final states."""
        out: dict[str, list[np.ndarray]] = {}
        for position in positions:
            noise = np.random.default_rng(position)
            rows = {
                array.name: noise.normal(size=array.shape[1:]).astype(np.float32)
                for array in arrays(self.header, Capture())
            }
            total = rows["trajectory/base"]
            for name in (n for n in rows if n.endswith("/contribution")):
                total = total + rows[name]
            rows["trajectory/prediction"] = total
            rows["images"] = (noise.random(rows["images"].shape) * 255).astype(np.uint8)
            if self.header.shape == self.header.image_shape:
                pixels = np.rint(np.clip((rows["trajectory/x"][-1] + 1) / 2, 0, 1) * 255).astype(np.uint8)
                rows["images"] = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
            for array in arrays(self.header, Capture(fields)):
                out.setdefault(array.name, []).append(rows[array.name])
        return {name: np.stack(rows) for name, rows in out.items()}

    def record(self, path: Path, batches: Sequence[Sequence[int]] | None = None) -> Path:
        """A file of this run with these batches committed, all of them by default."""
        writer = TrajectoryWriter.create(path, self.header)
        for batch in [range(len(self.header.sample_ids))] if batches is None else batches:
            writer.commit(batch, self.data(batch))
        writer.close()
        return path


@pytest.fixture
def make_run() -> Callable[..., Run]:
    """Make a `Run`."""

    def make(
        samples: int = 5,
        steps: int = 4,
        shape: tuple[int, ...] = (1, 4, 4),
        image_shape: tuple[int, ...] | None = None,
        forces: int = 2,
    ) -> Run:
        return Run(samples, steps, shape, image_shape or shape, forces)

    return make


@pytest.fixture
def a_run(make_run: Callable[..., Run]) -> Run:
    """Five samples of one-channel pixels, four steps, two forces, a drift."""
    return make_run()
