"""Checking a trajectory file for everything a reader relies on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff.trajectory.reader import Trajectory

MOST_BYTES = 1 << 31
"""A single sample that claims more in one dataset is not read: the claim costs a hostile file nothing."""


@attrs.frozen
class Problem:
    """Something wrong: where in the file, and what."""

    where: str
    what: str


def verify(path: str | Path) -> list[Problem]:
    """Everything wrong with a file, sample by sample, so that memory does not grow with the file.

    Raises `TrajectoryError` when the file is no trajectory at all.
    """
    with Trajectory(path) as trajectory:
        problems: list[Problem] = []
        try:
            problems += _structure(trajectory)
            if not problems:
                looks = {}
                for position in trajectory.committed:
                    rows = {name: dataset[position] for name, dataset in trajectory.datasets().items()}
                    problems += _sample(trajectory, position, rows)
                    looks[position] = _shows_final_state(rows)
                problems += _images(looks)
        except TrajectoryError:
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            problems.append(Problem("/", f"cannot be read: {' '.join(f'{type(error).__name__}: {error}'.split())}"))
        return problems


def _structure(trajectory: Trajectory) -> Iterator[Problem]:
    samples, steps = len(trajectory), trajectory.steps
    first: tuple[str, Any] | None = None
    for name in trajectory.links:
        yield Problem(name, "is a link, which no reader follows")
    for name, dataset in trajectory.datasets().items():
        if math.prod(dataset.shape[1:]) * dataset.dtype.itemsize > MOST_BYTES:
            yield Problem(name, f"claims samples of shape {dataset.shape[1:]}, too large to be checked")
        if name == "images":
            if dataset.dtype != np.uint8 or dataset.shape[:1] != (samples,) or not _like_images(dataset.shape):
                yield Problem(name, f"is {dataset.dtype} {dataset.shape}, not uint8 ({samples}, H, W[, 3])")
            continue
        times = steps + 1 if name == "trajectory/x" else steps
        if dataset.dtype not in (np.float16, np.float32):
            yield Problem(name, f"has dtype {dataset.dtype}, not float32 or float16")
        if dataset.shape[:2] != (samples, times):
            yield Problem(name, f"has shape {dataset.shape}, not ({samples}, {times}, …)")
        first = first or (name, dataset)
        if dataset.shape[2:] != first[1].shape[2:]:
            yield Problem(name, f"holds states of shape {dataset.shape[2:]}, {first[0]} of {first[1].shape[2:]}")
        if dataset.dtype != first[1].dtype:
            yield Problem(name, f"has dtype {dataset.dtype}, {first[0]} has {first[1].dtype}")
    yield from _schedule(trajectory)
    odd = set(np.unique(trajectory.steps_done).tolist()) - {0, steps}
    if odd:
        yield Problem("samples/steps_done", f"holds {sorted(odd)[:4]}; a marker is 0 or {steps}")
    if len(np.unique(trajectory.ids)) != samples:
        yield Problem("samples/id", "holds an id twice")
    config = trajectory.field("config")
    if hashlib.sha256(config.asstr()[()].encode()).hexdigest() != str(config.attrs.get("sha256")):
        yield Problem("config", "does not match its own sha256")


def _schedule(trajectory: Trajectory) -> Iterator[Problem]:
    steps = trajectory.steps
    if not np.array_equal(trajectory.step, np.arange(steps)):
        yield Problem("schedule/step", f"must count 0 … {steps - 1}")
    if not np.isfinite(trajectory.timestep).all():
        yield Problem("schedule/timestep", "must be finite")
    if not ((trajectory.alpha_bar >= 0) & (trajectory.alpha_bar <= 1)).all():
        yield Problem("schedule/alpha_bar", "must lie in [0, 1]")
    else:
        with np.errstate(divide="ignore"):
            sigma = ((1 - trajectory.alpha_bar) / trajectory.alpha_bar) ** 0.5
        if not np.allclose(trajectory.sigma, sigma):
            yield Problem("schedule/sigma", "is not sqrt((1 - alpha_bar) / alpha_bar)")
    if (trajectory.evaluations < 1).any():
        yield Problem("schedule/evaluations", "must be at least 1")
    for force in trajectory.force_names:
        name = f"forces/{force}/weight"
        try:
            weight = trajectory.field(name)
        except UnknownName:
            yield Problem(name, "is missing")
            continue
        if weight.shape != (steps,) or weight.dtype.kind != "f" or not np.isfinite(weight[...]).all():
            yield Problem(name, f"must be {steps} finite numbers")


def _sample(trajectory: Trajectory, position: int, rows: dict[str, npt.NDArray[Any]]) -> Iterator[Problem]:
    for name, values in rows.items():
        if name != "images" and not np.isfinite(values).all():
            yield Problem(name, f"sample {position} holds values that are not finite")
    ledger = ["trajectory/base", *(f"forces/{n}/contribution" for n in trajectory.force_names)]
    if "trajectory/prediction" in rows and all(name in rows for name in ledger):
        total = rows[ledger[0]]
        if total.dtype == np.float32:  # half precision rounds each term, so that no exact sum is promised
            for name in ledger[1:]:
                total = total + rows[name]
            wrong = (total != rows["trajectory/prediction"]).reshape(len(total), -1).any(1)
            if wrong.any():
                yield Problem(
                    "trajectory/prediction",
                    f"sample {position}: base + Σ contributions differs at step {int(np.flatnonzero(wrong)[0])}",
                )


def _shows_final_state(rows: dict[str, npt.NDArray[Any]]) -> bool | None:
    """Whether the image is clamp((x_T + 1) / 2) to within a grey level; None where state and image differ in shape."""
    if "trajectory/x" not in rows:
        return None
    image, state = rows["images"].astype(np.float32), rows["trajectory/x"][-1].astype(np.float32)
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    if planes.shape != state.shape:
        return None
    return bool((np.abs(np.clip((state + 1) / 2, 0, 1) * 255 - planes) <= 1).all())


def _images(looks: dict[int, bool | None]) -> Iterator[Problem]:
    """How a denoiser decodes is its own affair; but where most images show the final state, all must."""
    odd = [position for position, look in looks.items() if look is False]
    if len(odd) * 2 < len(looks):
        for position in odd:
            yield Problem("images", f"sample {position} does not show its final state")


def _like_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
