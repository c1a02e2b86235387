"""Recorded runs for plots: made of patterns and noise, without a network, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff.frames import RunHeader
from emnist_diff.timeline import Timeline
from emnist_diff_trajectory.schema import Capture, arrays
from emnist_diff_trajectory.writer import TrajectoryWriter


def record(
    path: Path,
    samples: int = 5,
    steps: int = 6,
    *,
    shape: tuple[int, ...] = (1, 6, 5),
    classes: tuple[str, ...] = ("A", "B", "C"),
    forces: tuple[str, ...] = ("attract_class", "drift_noise"),
    capture: Capture | None = None,
    committed: Iterable[int] | None = None,
    config: dict[str, Any] | None = None,
    seed: int = 3,
) -> Path:
    """A trajectory file whose samples go from noise to the pattern of their class.

    committed: which samples are; all of them when left out.
    """
    capture = capture or Capture()
    path.parent.mkdir(parents=True, exist_ok=True)
    alpha_bar = np.linspace(0.02, 0.98, steps)
    drawn = np.random.default_rng(seed)
    image_shape = shape if len(shape) == 3 else (1, 6, 5)
    patterns = np.sign(drawn.normal(size=(len(classes), *shape)))
    header = RunHeader(
        output=Path(),
        config=config or {"seed": seed, "forces": [{"name": name, "settings": {}, "weight": 1.0} for name in forces]},
        environment={"threads": 1},
        timeline=Timeline(np.linspace(990, 0, steps), alpha_bar, np.append(alpha_bar[1:], 1.0)),
        shape=shape,
        image_shape=image_shape,
        sample_ids=np.arange(samples, dtype=np.int64),
        labels=np.arange(samples, dtype=np.int64) % len(classes),
        seeds=np.full(samples, seed, np.uint64),
        classes=classes,
        forces=forces,
        drifts=(),
        force_weights=np.linspace(1.0, 0.2, max(1, len(forces)) * steps).reshape(-1, steps)[: len(forces)],
    )
    writer = TrajectoryWriter.create(path, header, capture)
    levels = np.append(alpha_bar, 1.0).reshape(-1, *[1] * len(shape))
    kept, own = capture.steps(header), set(capture.positions(header).tolist())
    for position in range(samples) if committed is None else committed:
        noise = drawn.normal(size=shape)
        wrong = drawn.normal(size=(steps, *shape)) * 0.5
        x = np.sqrt(levels) * patterns[position % len(classes)] + np.sqrt(1.0 - levels) * noise
        full: dict[str, Any] = {"trajectory/x": x, "trajectory/x0": x[-1] + wrong * np.sqrt(1.0 - levels[:-1])}
        full["trajectory/base"] = noise[None] + 0.1 * wrong
        total = full["trajectory/base"].astype(np.float32)
        for number, name in enumerate(forces):
            push = ((number + 1) * np.sqrt(levels[:-1]) * wrong).astype(np.float32)
            full[f"forces/{number:02d}_{name}/contribution"] = push
            total = total + push
        full["trajectory/prediction"] = total
        rows: dict[str, Any] = {}
        for array in arrays(header, capture):
            if array.name == "images":
                shown = x[-1] if len(shape) == 3 else drawn.uniform(-1, 1, size=image_shape)
                grey = np.rint(np.clip((shown.astype(np.float32) + 1) / 2, 0, 1) * 255).astype(np.uint8)
                rows["images"] = grey[0][None] if len(grey) == 1 else grey.transpose(1, 2, 0)[None]
            elif position in own:
                columns = np.append(kept, steps) if array.name == "trajectory/x" else kept
                rows[array.name] = full[array.name][columns].astype(array.dtype)[None]
            else:
                rows[array.name] = np.empty((0, *array.shape[1:]), dtype=array.dtype)
        writer.commit([position], rows)
    writer.close()
    return path


@pytest.fixture(scope="session")
def recorded() -> Callable[..., Path]:
    """Write a trajectory file."""
    return record


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five samples of three classes, six steps, two forces."""
    return record(tmp_path_factory.mktemp("few") / "trajectory.h5")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty samples of eight classes, twenty steps."""
    return record(tmp_path_factory.mktemp("many") / "trajectory.h5", 60, 20, classes=tuple("ABCDEFGH"), seed=4)
