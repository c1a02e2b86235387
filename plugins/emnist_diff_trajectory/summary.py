"""What a trajectory file holds, told briefly: sizes of everything, figures of a little."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emnist_diff_trajectory.opening import one_line
from emnist_diff_trajectory.reader import Trajectory

EXCERPT = 1 << 20
"""Bytes of a dataset that its figures are taken from, at most, where a step is not larger."""
_MOST_STATE = 1 << 24
_PLACES = 8


def summary(trajectory: Trajectory) -> dict[str, Any]:
    """JSON-ready: samples and commit state, schedule, size of each dataset, and figures from a few of its values:
    evenly spaced committed samples, and steps of each, so that a large file costs no more than a small one."""
    committed = trajectory.committed
    labels = trajectory.labels
    counts = {trajectory.classes[label]: int((labels == label).sum()) for label in np.unique(labels).tolist()}
    return {
        "file": str(trajectory.path),
        "bytes": trajectory.path.stat().st_size,
        "format_version": list(trajectory.format_version),
        "samples": len(trajectory),
        "committed": len(committed),
        "ids": [int(trajectory.ids.min()), int(trajectory.ids.max())],
        "classes": list(counts),
        "class_counts": counts,
        "steps": trajectory.steps,
        "kept_steps": len(trajectory.kept_steps),
        "kept_samples": len(trajectory.kept_samples),
        "timesteps": [float(trajectory.timestep[0]), float(trajectory.timestep[-1])],
        "prediction_type": trajectory.prediction_type,
        "schedule": {
            "forward_process": trajectory.forward_process,
            "table": _schedule(trajectory),
        },
        "sources": [source.file for source in trajectory.sources],
        "fields": {name: _field(trajectory, name, committed) for name in trajectory.datasets()},
        "forces": list(trajectory.force_names),
        "drifts": list(trajectory.drift_names),
        "config": trajectory.config,
        "environment": trajectory.environment,
    }


def _schedule(trajectory: Trajectory) -> list[dict[str, Any]]:
    """Some rows of the schedule, the first and last among them."""
    rows = []
    for step in _spread(trajectory.steps):
        sigma = float(trajectory.sigma[step])
        rows.append(
            {
                "step": step,
                "timestep": float(trajectory.timestep[step]),
                "alpha_bar": float(trajectory.alpha_bar[step]),
                "sigma": sigma if np.isfinite(sigma) else None,
                "evaluations": int(trajectory.evaluations[step]),
            }
        )
    return rows


def _field(trajectory: Trajectory, name: str, committed: list[int]) -> dict[str, Any]:
    dataset = trajectory.field(name)
    stored = dataset.stored
    out: dict[str, Any] = {
        "shape": list(dataset.shape),
        "dtype": str(dataset.dtype),
        "bytes": int(dataset.size) * dataset.dtype.itemsize,
        "stored": stored,
    }
    try:
        if stored == "chunked":
            out["stored_bytes"] = dataset.stored_bytes()
        values = _excerpt(trajectory, name, committed)
    except Exception as error:  # a hostile file can make h5py raise anything
        return {**out, "unreadable": one_line(error)}
    if values is not None:
        finite = values[np.isfinite(values)]
        out["seen"] = int(values.size)
        if len(finite):
            figures = {"mean": finite.mean(), "std": finite.std(), "min": finite.min(), "max": finite.max()}
            out |= {key: float(value) for key, value in figures.items()}
        if len(finite) < values.size:
            out["not_finite"] = int(values.size - len(finite))
    return out


def _excerpt(trajectory: Trajectory, name: str, committed: list[int]) -> npt.NDArray[np.float64] | None:
    """A few values of committed samples, in one list."""
    dataset = trajectory.field(name)
    if dataset.dtype.kind not in "iuf" or dataset.ndim < 2:
        return None
    if name == "images":
        rows, columns = committed, 1
    else:
        done = set(committed)
        rows = [row for row, p in enumerate(trajectory.kept_samples.tolist()) if p in done and row < len(dataset)]
        columns = dataset.shape[1]
    inner = dataset.shape[1:] if name == "images" else dataset.shape[2:]
    state = int(np.prod(inner, dtype=np.int64)) * dataset.dtype.itemsize
    if not rows or not columns or not state or state > _MOST_STATE:
        return None
    most = max(1, EXCERPT // state)
    samples = [rows[place] for place in _spread(len(rows), min(_PLACES, most))]
    out = []
    for row in samples:
        if name == "images":
            out.append(dataset[row])
        else:
            out += [dataset[row, column] for column in _spread(columns, min(_PLACES, max(1, most // len(samples))))]
    return np.stack(out).astype(np.float64).ravel()


def _spread(count: int, most: int = _PLACES) -> list[int]:
    """At most so many places of 0 … count-1, evenly spaced, the ends among them where there are two."""
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))
