"""Checking a trajectory file for everything a reader relies on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError, UnknownName
from emnist_diff.pixels import as_images
from emnist_diff.protocols import PredictionType, ProcessKind
from emnist_diff_trajectory.merged import mapped_rows
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory

BLOCK = 1 << 26
"""Bytes of one sample that are looked at together: steps, over all datasets."""
MOST_BYTES = 1 << 28
"""A step that claims more, over all datasets, is not read: the claim costs a hostile file nothing."""

_PIECE = 1 << 20
"""Elements that are added up at once: half precision takes several times its room meanwhile."""


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
                problems += _seeds(trajectory)
                problems += _samples(trajectory)
                problems += mappings(trajectory)
        except TrajectoryError:
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            problems.append(Problem("/", f"cannot be read: {' '.join(f'{type(error).__name__}: {error}'.split())}"))
        return problems


def unchecked(path: str | Path) -> list[str]:
    """What `verify` cannot check of a file, because it was not recorded; nothing of this is wrong.

    Raises `TrajectoryError` when the file is no trajectory at all.
    """
    with Trajectory(path) as trajectory:
        lacking = sorted({"trajectory/prediction", *_terms(trajectory)} - trajectory.datasets().keys())
        if not len(trajectory.kept_samples):
            return ["no states are kept, so that values and ledger were not checked"]
        return [f"the ledger was not checked, for lack of {', '.join(lacking)}"] if lacking else []


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


def _seeds(trajectory: Trajectory) -> Iterator[Problem]:
    """A run has one seed, and its noise could not be made again from another."""
    seed = trajectory.config.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool):
        odd = [number for number in np.unique(trajectory.seeds).tolist() if number != seed]
        if odd:
            sample = int(trajectory.ids[trajectory.seeds == odd[0]][0])
            yield Problem("samples/seed", f"sample {sample} has seed {odd[0]}, the configuration {seed!s:.40}")


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
    looks: dict[int, bool | None] = {}  # by id
    for position in trajectory.committed:
        if position in kept:
            yield from _sample(trajectory, position)
            looks[int(trajectory.ids[position])] = _shows_final_state(trajectory, position)
    yield from _images(looks)


def _terms(trajectory: Trajectory) -> list[str]:
    """What adds up to the prediction, in order."""
    return ["trajectory/base", *(f"forces/{name}/contribution" for name in trajectory.force_names)]


def _sample(trajectory: Trajectory, position: int) -> Iterator[Problem]:
    """What is wrong with one sample; of each kind only the first is told."""
    row, number = trajectory.row(position), int(trajectory.ids[position])
    data = {name: d for name, d in trajectory.datasets().items() if name != "images"}
    ledger = _terms(trajectory)
    complete = {"trajectory/prediction", *ledger} <= data.keys()
    width = sum(math.prod(d.shape[2:]) * d.dtype.itemsize for d in data.values())
    columns = max(1, BLOCK // max(1, width))
    infinite: set[str] = set()
    wrong = False
    for first in range(0, len(trajectory.kept_steps) + 1, columns):
        block = {name: dataset[row, first : first + columns] for name, dataset in data.items()}
        for name, values in block.items():
            if name not in infinite and not np.isfinite(values).all():
                infinite.add(name)
                yield Problem(name, f"sample {number} holds values that are not finite")
        if complete and not wrong:
            fits = np.ones(block["trajectory/prediction"].shape, dtype=bool)
            flat = [block[name].reshape(-1) for name in (*ledger, "trajectory/prediction")]
            for start in range(0, fits.size, _PIECE):
                *terms, total = (values[start : start + _PIECE] for values in flat)
                fits.reshape(-1)[start : start + _PIECE] = _adds_up(terms, total)
            odd = ~fits.all(axis=tuple(range(1, fits.ndim)))
            if odd.any():
                wrong = True
                step = int(trajectory.kept_steps[first + int(np.flatnonzero(odd)[0])])
                yield Problem(
                    "trajectory/prediction", f"sample {number}: base + Σ contributions differs at step {step}"
                )


def _adds_up(terms: list[npt.NDArray[Any]], total: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Of each element, whether the terms add up to the total: to the bit in float32; to what rounding each of them by
    itself may cost in float16."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = terms[0].astype(np.float32)
        for term in terms[1:]:
            found = found + term.astype(np.float32)
        if total.dtype != np.float16:
            return np.asarray(found == total)
        sizes = np.abs(np.stack([*terms, total]).astype(np.float32))
        # Half a unit in the last place of each, which with one force never exceeds 2⁻¹⁰ of the largest.
        most = np.maximum(sizes.max(0), sizes.sum(0) / 2)
        below = len(sizes) * 2.0**-24  # the spacing of float16 below 2⁻¹⁴
        return np.asarray(np.abs(found - total.astype(np.float32)) <= most * (2.0**-10 * (1 + 2.0**-9)) + below)


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


def _shows_final_state(trajectory: Trajectory, position: int) -> bool | None:
    """Whether the image is clamp((x_T + 1) / 2) to within a grey level; None where state and image differ in shape."""
    if "trajectory/x" not in trajectory.datasets():
        return None
    image = trajectory.images[position].astype(np.float32)
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    if planes.shape != trajectory.x.shape[2:]:
        return None
    state = trajectory.x[trajectory.row(position), -1].astype(np.float32)
    return bool((np.abs(as_images(state) * 255 - planes) <= 1).all())


def _images(looks: dict[int, bool | None]) -> Iterator[Problem]:
    """How a denoiser decodes is its own affair; but where most images show the final state, all must."""
    odd = [number for number, look in looks.items() if look is False]
    if len(odd) * 2 < len(looks):
        for number in odd:
            yield Problem("images", f"sample {number} does not show its final state")


def _like_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
