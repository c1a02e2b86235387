"""Checking a trajectory file for everything a reader relies on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np

from emnist_diff.errors import TrajectoryError
from emnist_diff.trajectory.reader import Trajectory


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
                for position in trajectory.committed:
                    problems += _sample(trajectory, position)
        except TrajectoryError:
            raise
        except Exception as error:  # a hostile file can make h5py raise anything
            problems.append(Problem("/", f"cannot be read: {' '.join(f'{type(error).__name__}: {error}'.split())}"))
        return problems


def _structure(trajectory: Trajectory) -> Iterator[Problem]:
    samples, steps = len(trajectory), trajectory.steps
    datasets = trajectory.datasets()
    shape = None
    for name, dataset in datasets.items():
        if name == "images":
            if dataset.dtype != np.uint8 or dataset.ndim not in (3, 4) or dataset.shape[0] != samples:
                yield Problem(name, f"is {dataset.dtype} {dataset.shape}, not uint8 ({samples}, H, W[, 3])")
            continue
        times = steps + 1 if name == "trajectory/x" else steps
        if dataset.dtype not in (np.float16, np.float32):
            yield Problem(name, f"has dtype {dataset.dtype}, not float32 or float16")
        if dataset.shape[:2] != (samples, times):
            yield Problem(name, f"has shape {dataset.shape}, not ({samples}, {times}, …)")
        shape = shape or dataset.shape[2:]
        if dataset.shape[2:] != shape:
            yield Problem(name, f"holds states of shape {dataset.shape[2:]}, others of {shape}")
    for name, values in (("alpha_bar", trajectory.alpha_bar), ("sigma", trajectory.sigma)):
        if len(values) != steps or not np.isfinite(values).all():
            yield Problem(f"schedule/{name}", f"must be {steps} finite numbers")
    odd = set(np.unique(trajectory.steps_done).tolist()) - {0, steps}
    if odd:
        yield Problem("samples/steps_done", f"holds {sorted(odd)[:4]}; a marker is 0 or {steps}")
    if len(np.unique(trajectory.ids)) != samples:
        yield Problem("samples/id", "holds an id twice")
    config = trajectory.field("config")
    if hashlib.sha256(config.asstr()[()].encode()).hexdigest() != config.attrs.get("sha256"):
        yield Problem("config", "does not match its own sha256")


def _sample(trajectory: Trajectory, position: int) -> Iterator[Problem]:
    rows = {}
    for name, dataset in trajectory.datasets().items():
        rows[name] = dataset[position]
        if name != "images" and not np.isfinite(rows[name]).all():
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
