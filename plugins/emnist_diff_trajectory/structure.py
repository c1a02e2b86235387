"""What must hold of a trajectory file before any of its states is read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

import attrs
import numpy as np

from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff.timeline import PredictionType, ProcessKind
from emnist_diff_trajectory.fields import columns, is_activation, weight_of
from emnist_diff_trajectory.merged import mapped_rows
from emnist_diff_trajectory.opening import reading

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory

MOST_BYTES = 1 << 28
"""A step that claims more, over all datasets, is not read: the claim costs a hostile file nothing."""


@attrs.frozen
class Problem:
    """Something wrong: where in the file, and what."""

    where: str
    what: str


def require_sound(trajectory: Trajectory) -> None:
    """Raise `TrajectoryError` for the first thing wrong with a file's structure."""
    with reading(trajectory.path):
        problem = next(structure(trajectory), None)
    if problem is not None:
        raise TrajectoryError(f"{trajectory.path} is damaged: {problem.where}: {problem.what}")


def structure(trajectory: Trajectory) -> Iterator[Problem]:
    """What is wrong with a file's tree, shapes, dtypes, schedule and markers; no states are read."""
    for name in trajectory.links:
        yield Problem(name, "is a link, which no reader follows")
    yield from _datasets(trajectory)
    for where, name, known in (
        ("schedule", "forward_process", ProcessKind),
        ("trajectory", "prediction_type", PredictionType),
    ):
        found = getattr(trajectory, name)
        if found not in get_args(known):
            yield Problem(where, f"has the {name} {found!r:.40}, not {' or '.join(get_args(known))}")
    yield from _schedule(trajectory)
    samples, steps = len(trajectory), trajectory.steps
    odd = set(np.unique(trajectory.steps_done).tolist()) - {0, steps}
    if odd:
        yield Problem("samples/steps_done", f"holds {sorted(odd)[:4]}; a marker is 0 or {steps}")
    if len(np.unique(trajectory.ids)) != samples:
        yield Problem("samples/id", "holds an id twice")
    if not len(trajectory.kept_steps):
        yield Problem("trajectory/step", "keeps no step")
    if hashlib.sha256(trajectory.config_text.encode()).hexdigest() != trajectory.config_hash:
        yield Problem("config", "does not match its own sha256")


def _datasets(trajectory: Trajectory) -> Iterator[Problem]:
    """What is wrong with the shapes and dtypes of states and images."""
    rows, steps = len(trajectory.kept_samples), len(trajectory.kept_steps)
    first: tuple[str, Any] | None = None
    states: tuple[str, Any] | None = None
    claimed = 0
    for name, dataset in trajectory.datasets().items():
        if name == "images":
            samples = len(trajectory)
            if dataset.dtype != np.uint8 or dataset.shape[:1] != (samples,) or not _like_images(dataset.shape):
                yield Problem(name, f"is {dataset.dtype} {dataset.shape}, not uint8 ({samples}, H, W[, 3])")
            claimed += math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
            continue
        claimed += math.prod(dataset.shape[2:]) * dataset.dtype.itemsize
        times = columns(name, steps)
        if dataset.dtype not in (np.float16, np.float32):
            yield Problem(name, f"has dtype {dataset.dtype}, not float32 or float16")
        if dataset.shape[:2] != (rows, times):
            yield Problem(name, f"has shape {dataset.shape}, not ({rows}, {times}, …)")
        first = first or (name, dataset)
        if dataset.dtype != first[1].dtype:
            yield Problem(name, f"has dtype {dataset.dtype}, {first[0]} has {first[1].dtype}")
        if is_activation(name):
            count = len(trajectory.conditions)
            if not count or dataset.shape[2:3] != (count,):
                yield Problem(name, f"has shape {dataset.shape}, not ({rows}, {times}, {count}, …)")
            continue
        states = states or (name, dataset)
        if dataset.shape[2:] != states[1].shape[2:]:
            yield Problem(name, f"holds states of shape {dataset.shape[2:]}, {states[0]} of {states[1].shape[2:]}")
    if claimed > MOST_BYTES:
        yield Problem("/", f"a step of a sample claims {claimed} bytes, too many to be checked")


def _schedule(trajectory: Trajectory) -> Iterator[Problem]:
    steps = trajectory.steps
    if not np.array_equal(trajectory.step, np.arange(steps)):
        yield Problem("schedule/step", f"must count 0 … {steps - 1}")
    if not np.isfinite(trajectory.timestep).all():
        yield Problem("schedule/timestep", "must be finite")
    if not ((trajectory.alpha_bar >= 0) & (trajectory.alpha_bar <= 1)).all():
        yield Problem("schedule/alpha_bar", "must lie in [0, 1]")
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma = ((1 - trajectory.alpha_bar) / trajectory.alpha_bar) ** 0.5
        if not np.allclose(trajectory.sigma, sigma):
            yield Problem("schedule/sigma", "is not sqrt((1 - alpha_bar) / alpha_bar)")
    if (trajectory.evaluations < 1).any():
        yield Problem("schedule/evaluations", "must be at least 1")
    for force in trajectory.force_names:
        name = weight_of(force)
        try:
            weight = trajectory.field(name)
        except UnknownName:
            yield Problem(name, "is missing")
            continue
        if weight.shape != (steps,) or weight.dtype.kind != "f" or not np.isfinite(weight[...]).all():
            yield Problem(name, f"must be {steps} finite numbers")


def mappings(trajectory: Trajectory) -> Iterator[Problem]:
    """Where the datasets of an index lead those who follow them, as HDF5 does, to other rows than their samples'."""
    ids = {"images": trajectory.ids}
    for name, dataset in trajectory.virtual().items():
        right = trajectory.field(name)
        files, numbers = np.full(len(right), "", object), np.full(len(right), -1, np.int64)
        twice = np.zeros(len(right), bool)
        try:
            for file, rows, inside in mapped_rows(dataset):
                twice[rows] |= numbers[rows] >= 0
                files[rows], numbers[rows] = file, inside
        except (TrajectoryError, IndexError) as error:
            yield Problem(name, str(error))
            continue
        odd = np.flatnonzero(twice | (files != right.files) | (numbers != right.inside))
        if len(odd):
            sample = int(ids.get(name, trajectory.ids[trajectory.kept_samples])[odd[0]])
            yield Problem(name, f"sample {sample} is not the one in {right.files[odd[0]]}, for readers that follow it")


def _like_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
