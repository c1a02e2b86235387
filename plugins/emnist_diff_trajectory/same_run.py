"""Whether a run may go on writing a file that an earlier run began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emnist_diff.errors import TrajectoryError
from emnist_diff.frames import RunHeader
from emnist_diff.shown import shown
from emnist_diff_trajectory.activations import condition_names
from emnist_diff_trajectory.growth import shrinks
from emnist_diff_trajectory.identity import fingerprint
from emnist_diff_trajectory.other_files import differing
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.rows import Place
from emnist_diff_trajectory.schema import MARKERS, Capture, arrays


def require_same_run(path: Path, existing: Trajectory, header: RunHeader, capture: Capture) -> None:
    """Raise `TrajectoryError` naming what differs between a file and the run that is to continue it."""
    _require_same_settings(path, existing, header)
    _require_same_samples(path, existing, header)
    if existing.sources:
        raise TrajectoryError(f"{path} is an index of merged files and cannot be continued — use --overwrite")
    _require_same_capture(path, existing, header, capture)
    written = {**existing.datasets(), MARKERS: existing.field(MARKERS)}
    packed = [name for name, dataset in written.items() if Place.of(dataset) is None]
    if packed and len(existing.committed) < len(existing):
        raise TrajectoryError(f"{path} is packed ({packed[0]} is not contiguous) and cannot be continued")


def _require_same_settings(path: Path, existing: Trajectory, header: RunHeader) -> None:
    if fewer := shrinks(existing.config, header.config):
        raise TrajectoryError(f"{path} {fewer}")
    if fingerprint(existing.config) != fingerprint(header.config):
        keys = sorted(existing.config.keys() | header.config.keys())
        changes = {k: [*_changes(existing.config.get(k), header.config.get(k), k)] for k in keys}
        odd = [k for k in keys if changes[k]]
        files = differing(existing.config, header.config)
        if files and set(odd) <= {"files", "denoiser", "scheduler", "forces", "drifts"}:
            raise TrajectoryError(f"{path} was made with other files ({files}) — give back those, or use --overwrite")
        places = [change for key in odd for change in changes[key]]
        what = "; ".join(places[:4]) + (f"; and {len(places) - 4} more" if len(places) > 4 else "")
        remedy = "repeat that run's settings, or use --overwrite"
        backend, precision = existing.config.get("backend"), existing.config.get("precision")
        if set(odd) <= {"backend", "precision", "micro_batch"} and isinstance(backend, dict):
            remedy = f"use --backend {backend.get('name')} --precision {precision}"
        raise TrajectoryError(f"{path} belongs to another run ({what}) — {remedy}")


def _changes(held: Any, requested: Any, place: str) -> Iterator[str]:
    """What differs between two values of a record, as parts of a message. Tables are entered, and ``settings`` is left
    out of places, as options do."""
    if isinstance(held, Mapping) and isinstance(requested, Mapping):
        for key in sorted(held.keys() | requested.keys()):
            yield from _changes(held.get(key), requested.get(key), place if key == "settings" else f"{place}.{key}")
    elif fingerprint({"": held}) != fingerprint({"": requested}):
        yield f"{place}: {shown(held)} there, {shown(requested)} here"


def _require_same_samples(path: Path, existing: Trajectory, header: RunHeader) -> None:
    timeline = header.timeline
    for what, held, requested in (
        ("sample ids", existing.ids, header.sample_ids),
        ("seeds", existing.seeds, header.seeds),
        ("labels", existing.labels, header.labels),
        ("class names", np.array(existing.classes), np.array(header.classes)),
        ("timesteps", existing.timestep, timeline.timestep),
        ("alpha_bar", existing.alpha_bar, timeline.alpha_bar),
    ):
        if not np.array_equal(held, requested):
            raise TrajectoryError(
                f"{path} belongs to another run (other {what}: {_few(held)} there, {_few(requested)} here) — "
                "repeat that run's settings, or use --overwrite"
            )


def _require_same_capture(path: Path, existing: Trajectory, header: RunHeader, capture: Capture) -> None:
    """The steps, samples and fields that the file keeps must be those that the run is to keep."""
    for what, held, requested in (
        ("steps", existing.kept_steps, capture.steps(header)),
        ("samples", existing.kept_samples, capture.positions(header)),
        ("conditions", np.array(existing.conditions), np.array(condition_names(capture.conditions(header)))),
    ):
        if not np.array_equal(held, requested):
            raise TrajectoryError(
                f"{path} keeps other {what} ({_few(held)} there, {_few(requested)} here) — repeat that run's sink "
                "settings, or use --overwrite"
            )
    wanted = {array.name: (array.shape, array.dtype) for array in arrays(header, capture)}
    stored = {name: (tuple(d.shape), str(d.dtype)) for name, d in existing.datasets().items()}
    for name in sorted(wanted.keys() | stored.keys()):
        if stored.get(name) != wanted.get(name):
            raise TrajectoryError(
                f"{path} was recorded with other fields: {name} is {stored.get(name, 'missing')} there, "
                f"{wanted.get(name, 'not asked for')} here — repeat that run's sink settings, or use --overwrite"
            )


def _few(values: npt.NDArray[Any]) -> str:
    """The start of an array, on one line."""
    return f"{len(values)} × [{', '.join(map(str, values[:3].tolist()))}{', …' if len(values) > 3 else ''}]"
