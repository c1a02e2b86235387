"""Checking a trajectory file for everything a reader relies on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff.trajectory.opening import reading
from emnist_diff.trajectory.reader import Trajectory

BLOCK = 1 << 26
"""Bytes of one sample that are looked at together: steps, over all datasets."""
MOST_BYTES = 1 << 28
"""A step that claims more, over all datasets, is not read: the claim costs a hostile file nothing."""


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
            problems += structure(trajectory)
            if not problems:
                problems += _samples(trajectory)
                problems += _index(trajectory)
        except TrajectoryError:
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            problems.append(Problem("/", f"cannot be read: {' '.join(f'{type(error).__name__}: {error}'.split())}"))
        return problems


def require_sound(trajectory: Trajectory) -> None:
    """Raise `TrajectoryError` for the first thing wrong with a file's structure."""
    with reading(trajectory.path):
        problem = next(structure(trajectory), None)
    if problem is not None:
        raise TrajectoryError(f"{trajectory.path} is damaged: {problem.where}: {problem.what}")


def structure(trajectory: Trajectory) -> Iterator[Problem]:
    """What is wrong with a file's tree, shapes, dtypes, schedule and markers; no states are read."""
    rows, columns = len(trajectory.kept_samples), len(trajectory.kept_steps)
    first: tuple[str, Any] | None = None
    for name in trajectory.links:
        yield Problem(name, "is a link, which no reader follows")
    claimed = 0
    for name, dataset in trajectory.datasets().items():
        if name == "images":
            samples = len(trajectory)
            if dataset.dtype != np.uint8 or dataset.shape[:1] != (samples,) or not _like_images(dataset.shape):
                yield Problem(name, f"is {dataset.dtype} {dataset.shape}, not uint8 ({samples}, H, W[, 3])")
            claimed += math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
            continue
        claimed += math.prod(dataset.shape[2:]) * dataset.dtype.itemsize
        times = columns + 1 if name == "trajectory/x" else columns
        if dataset.dtype not in (np.float16, np.float32):
            yield Problem(name, f"has dtype {dataset.dtype}, not float32 or float16")
        if dataset.shape[:2] != (rows, times):
            yield Problem(name, f"has shape {dataset.shape}, not ({rows}, {times}, …)")
        first = first or (name, dataset)
        if dataset.shape[2:] != first[1].shape[2:]:
            yield Problem(name, f"holds states of shape {dataset.shape[2:]}, {first[0]} of {first[1].shape[2:]}")
        if dataset.dtype != first[1].dtype:
            yield Problem(name, f"has dtype {dataset.dtype}, {first[0]} has {first[1].dtype}")
    if claimed > MOST_BYTES:
        yield Problem("/", f"a step of a sample claims {claimed} bytes, too many to be checked")
    yield from _schedule(trajectory)
    samples, steps = len(trajectory), trajectory.steps
    odd = set(np.unique(trajectory.steps_done).tolist()) - {0, steps}
    if odd:
        yield Problem("samples/steps_done", f"holds {sorted(odd)[:4]}; a marker is 0 or {steps}")
    if len(np.unique(trajectory.ids)) != samples:
        yield Problem("samples/id", "holds an id twice")
    if not len(trajectory.kept_steps):
        yield Problem("trajectory/step", "keeps no step")
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


def _samples(trajectory: Trajectory) -> Iterator[Problem]:
    """What is wrong with the values of committed samples."""
    kept = set(trajectory.kept_samples.tolist())
    looks: dict[int, bool | None] = {}
    for position in trajectory.committed:
        if position in kept:
            yield from _sample(trajectory, position)
            looks[position] = _shows_final_state(trajectory, position)
    yield from _images(looks)


def _sample(trajectory: Trajectory, position: int) -> Iterator[Problem]:
    """What is wrong with one sample; of each kind only the first is told."""
    row = trajectory.row(position)
    data = {name: d for name, d in trajectory.datasets().items() if name != "images"}
    ledger = ["trajectory/base", *(f"forces/{n}/contribution" for n in trajectory.force_names)]
    adds_up = {"trajectory/prediction", *ledger} <= data.keys()
    # half precision rounds each term, so that no exact sum is promised
    adds_up = adds_up and all(data[name].dtype == np.float32 for name in ledger)
    width = sum(math.prod(d.shape[2:]) * d.dtype.itemsize for d in data.values())
    columns = max(1, BLOCK // max(1, width))
    infinite: set[str] = set()
    wrong = False
    for first in range(0, len(trajectory.kept_steps) + 1, columns):
        block = {name: dataset[row, first : first + columns] for name, dataset in data.items()}
        for name, values in block.items():
            if name not in infinite and not np.isfinite(values).all():
                infinite.add(name)
                yield Problem(name, f"sample {position} holds values that are not finite")
        if adds_up and not wrong:
            total = block[ledger[0]]
            for name in ledger[1:]:
                total = total + block[name]
            odd = (total != block["trajectory/prediction"]).reshape(len(total), -1).any(1)
            if odd.any():
                wrong = True
                step = int(trajectory.kept_steps[first + int(np.flatnonzero(odd)[0])])
                yield Problem(
                    "trajectory/prediction", f"sample {position}: base + Σ contributions differs at step {step}"
                )


def _index(trajectory: Trajectory) -> Iterator[Problem]:
    """Where an index of merged files gives a sample other values than the file that the sample is in."""
    places = {int(number): position for position, number in enumerate(trajectory.ids.tolist())}
    for source in trajectory.sources:
        with Trajectory(trajectory.path.parent / source.file, index=False) as file:
            kept = set(file.kept_samples.tolist())
            for position in file.committed:
                here = places[int(file.ids[position])]
                for name, dataset in file.datasets().items():
                    if name != "images" and position not in kept:
                        continue
                    rows = (here, position)
                    if name != "images":
                        rows = (trajectory.row(here), file.row(position))
                    width = max(1, math.prod(dataset.shape[2:]) * dataset.dtype.itemsize)
                    columns = max(1, BLOCK // width)
                    for first in range(0, dataset.shape[1], columns):
                        part = slice(first, first + columns)
                        one, other = trajectory.field(name)[rows[0], part], dataset[rows[1], part]
                        if one.tobytes() != other.tobytes():
                            yield Problem(name, f"sample {here} is not the one in {source.file}")
                            break


def _shows_final_state(trajectory: Trajectory, position: int) -> bool | None:
    """Whether the image is clamp((x_T + 1) / 2) to within a grey level; None where state and image differ in shape."""
    if "trajectory/x" not in trajectory.datasets():
        return None
    image = trajectory.images[position].astype(np.float32)
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    if planes.shape != trajectory.x.shape[2:]:
        return None
    state = trajectory.x[trajectory.row(position), -1].astype(np.float32)
    return bool((np.abs(np.clip((state + 1) / 2, 0, 1) * 255 - planes) <= 1).all())


def _images(looks: dict[int, bool | None]) -> Iterator[Problem]:
    """How a denoiser decodes is its own affair; but where most images show the final state, all must."""
    odd = [position for position, look in looks.items() if look is False]
    if len(odd) * 2 < len(looks):
        for position in odd:
            yield Problem("images", f"sample {position} does not show its final state")


def _like_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
