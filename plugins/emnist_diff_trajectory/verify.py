"""Checking a trajectory file for everything a reader relies on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.fields import X, is_activation, ledger
from emnist_diff_trajectory.pixels import as_images
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.structure import Problem, mappings, structure

BLOCK = 1 << 26
"""Bytes of one sample that are looked at together: steps, over all datasets."""
_PIECE = 1 << 20
"""Elements that are added up at once: half precision takes several times its room meanwhile."""


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
        terms, total = ledger(trajectory.force_names)
        lacking = sorted({total, *terms} - trajectory.datasets().keys())
        if not len(trajectory.kept_samples):
            return ["no states are kept, so that values and ledger were not checked"]
        return [f"the ledger was not checked, for lack of {', '.join(lacking)}"] if lacking else []


def _seeds(trajectory: Trajectory) -> Iterator[Problem]:
    """A run has one seed, and its noise could not be made again from another."""
    seed = trajectory.config.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool):
        odd = [number for number in np.unique(trajectory.seeds).tolist() if number != seed]
        if odd:
            sample = int(trajectory.ids[trajectory.seeds == odd[0]][0])
            yield Problem("samples/seed", f"sample {sample} has seed {odd[0]}, the configuration {seed!s:.40}")


def _samples(trajectory: Trajectory) -> Iterator[Problem]:
    """What is wrong with the values of committed samples."""
    kept = set(trajectory.kept_samples.tolist())
    matches: dict[int, bool | None] = {}  # by id
    for position in trajectory.committed:
        if position in kept:
            yield from _sample(trajectory, position)
            matches[int(trajectory.ids[position])] = _shows_final_state(trajectory, position)
    yield from _images(matches)


def _sample(trajectory: Trajectory, position: int) -> Iterator[Problem]:
    """What is wrong with one sample; of each kind only the first is told."""
    row, number = trajectory.row(position), int(trajectory.ids[position])
    data = {name: d for name, d in trajectory.datasets().items() if name != "images"}
    terms, total = ledger(trajectory.force_names)
    complete = {total, *terms} <= data.keys()
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
            if is_activation(name) and values[~trajectory.evaluated[first : first + columns]].any():
                yield Problem(name, f"sample {number} holds activations of a condition that its step does not evaluate")
        if complete and not wrong:
            fits = np.ones(block[total].shape, dtype=bool)
            flat = [block[name].reshape(-1) for name in (*terms, total)]
            for start in range(0, fits.size, _PIECE):
                *parts, whole = (values[start : start + _PIECE] for values in flat)
                fits.reshape(-1)[start : start + _PIECE] = _adds_up(parts, whole)
            odd = ~fits.all(axis=tuple(range(1, fits.ndim)))
            if odd.any():
                wrong = True
                step = int(trajectory.kept_steps[first + int(np.flatnonzero(odd)[0])])
                yield Problem(total, f"sample {number}: base + Σ contributions differs at step {step}")


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


def _shows_final_state(trajectory: Trajectory, position: int) -> bool | None:
    """Whether the image is clamp((x_T + 1) / 2) to within a grey level; None where state and image differ in shape."""
    if X not in trajectory.datasets():
        return None
    image = trajectory.images[position].astype(np.float32)
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    if planes.shape != trajectory.x.shape[2:]:
        return None
    state = trajectory.x[trajectory.row(position), -1].astype(np.float32)
    return bool((np.abs(as_images(state) * 255 - planes) <= 1).all())


def _images(matches: dict[int, bool | None]) -> Iterator[Problem]:
    """How a denoiser decodes is its own affair; but where most images show the final state, all must."""
    odd = [number for number, matched in matches.items() if matched is False]
    if len(odd) * 2 < len(matches):
        for number in odd:
            yield Problem("images", f"sample {number} does not show its final state")
