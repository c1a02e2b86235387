"""Runs to be measured."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff.assembly.assemble import assemble
from emnist_diff.discovery import installed
from emnist_diff.running.run import execute
from emnist_diff_plugins.layers import configure

RUN = {
    "denoiser": {"name": "gaussian-mixture", "shape": [1, 6, 5], "classes": "ABC"},
    "character": "A,B",
    "total_videos": 7,
    "steps": 5,
    "scheduler": "ddpm",
    "forces": [
        {"name": "attract_class", "target": "B", "weight": 0.5},
        {"name": "repel_class", "target": "C", "strength": {"kind": "window", "from": 0.5, "to": 1.0}},
    ],
    "drifts": [{"name": "default", "noise_scale": 0.02}],
    "batch_size": 3,
}


class Measured:
    """Runs, and the tables of their metrics as text."""

    settings = RUN

    @staticmethod
    def run(output: Path, *sinks: Any, resume: bool = False, **more: Any) -> Path:
        """A run in this process; gives its directory."""
        settings, _ = configure(installed(), {**RUN, "output": str(output), "sinks": list(sinks), **more})
        return execute(assemble(installed(), settings), resume=resume).output

    @staticmethod
    def rows(path: Path, *, but: tuple[str, ...] = ()) -> list[dict[str, str]]:
        """The rows of a CSV file, without some columns."""
        with path.open(newline="") as file:
            return [{k: v for k, v in row.items() if k not in but} for row in csv.DictReader(file)]

    @staticmethod
    def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
        """A column as numbers; NaN where it is empty."""
        return np.array([float(row[name]) if row[name] else np.nan for row in rows])


TIMES = ("wall_dt", "generation_time_sec", "gpu_mem_peak_mb")
"""What only a run knows."""


@pytest.fixture(scope="session")
def measured() -> type[Measured]:
    return Measured


@pytest.fixture(scope="session")
def times() -> tuple[str, ...]:
    return TIMES


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was recorded and measured."""
    return Measured.run(tmp_path_factory.mktemp("measured"), "hdf5", "metrics")


@pytest.fixture
def make_block() -> Callable[..., Any]:
    """A `Block` of random states, some fields left out or replaced."""
    from emnist_diff_plugins.metrics.block import Block, Levels

    def make(
        samples: int = 3,
        steps: int = 4,
        size: int = 6,
        force_names: tuple[str, ...] = ("00_push", "01_pull"),
        drift_names: tuple[str, ...] = ("00_walk", "01_fall"),
        **fields: Any,
    ) -> Block:
        noise = np.random.default_rng(3)
        alpha_bar = np.linspace(0.1, 0.9, steps)
        levels = Levels(
            np.arange(steps), 999.0 - 10 * np.arange(steps), alpha_bar, np.append(alpha_bar[1:], 1.0), total=steps
        )
        whole = (samples, steps, size)
        base = noise.normal(size=whole)
        pushes = {name: noise.normal(size=whole) for name in force_names}
        data: dict[str, Any] = {
            "levels": levels,
            "ids": np.arange(samples) + 10,
            "labels": np.arange(samples) % 2,
            "seeds": np.full(samples, 7, np.uint64),
            "image": noise.integers(0, 256, size=(samples, 2, 3)).astype(np.uint8),
            "x": noise.normal(size=(samples, steps + 1, size)),
            "x0": noise.normal(size=whole),
            "prediction": sum(pushes.values(), base),
            "base": base,
            "forces": pushes,
            "drifts": {name: noise.normal(size=whole) for name in drift_names},
            "pixels": noise.integers(0, 256, size=(samples, steps + 1, size)).astype(np.int16),
            "kind": "epsilon",
        }
        return Block(**{**data, **fields})

    return make
