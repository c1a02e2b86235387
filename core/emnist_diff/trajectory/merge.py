"""Workers' files, joined: by an index that points to them, or by one file with copies of their samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emnist_diff.config import MOST_SAMPLES, canonical_json, fingerprint
from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.trajectory.compose import Part, by_reference, compose, shared_environment
from emnist_diff.trajectory.merged import Source
from emnist_diff.trajectory.opening import reading
from emnist_diff.trajectory.reader import Trajectory
from emnist_diff.trajectory.verify import require_sound


def worker_files(folder: Path, stem: str = "trajectory") -> list[Path]:
    """The files that workers left in a directory. Raises `TrajectoryError` when there are none."""
    files = sorted(folder.glob(f"{stem}-[0-9]*-of-[0-9]*.h5"))
    if not files:
        raise TrajectoryError(f"{str(folder)!r} holds no {stem}-RANK-of-WORLD.h5 — name the files")
    return files


def merge(
    files: Sequence[Path], path: Path, *, copy: bool = False, allow_holes: bool = False, overwrite: bool = False
) -> int:
    """Join files of one run into `path`, samples in order of their ids; returns how many.

    copy: write one file that needs no other; else an index, which must stand in the directory of the files and goes
    with them wherever they go.
    allow_holes: samples that no file has committed are left out of account.

    Raises `TrajectoryError` when files are of different runs, share a sample, or lack one; `OutputError` when `path`
    cannot be written.
    """
    if len(files) < 2:
        raise TrajectoryError(f"merge joins two files or more, got {', '.join(map(str, files)) or 'none'}")
    opened: list[Trajectory] = []
    try:
        for file in files:
            opened.append(Trajectory(file, index=copy))
            _check_same_run(opened[0], opened[-1])
        ids = np.concatenate([trajectory.ids for trajectory in opened])
        _check_ids(opened, ids, allow_holes)
        order = np.sort(ids)
        parts = []
        for trajectory in opened:
            if (np.diff(trajectory.ids) <= 0).any():
                raise TrajectoryError(f"{trajectory.path} is damaged: samples/id must rise")
            parts.append(Part.whole(trajectory, np.searchsorted(order, trajectory.ids)))
        environment = shared_environment(parts)
        if copy:
            compose(path, parts, overwrite=overwrite, environment=environment)
        else:
            for file in files:
                _check_beside(file, path)
            sources = [Source(file.name, len(trajectory)) for file, trajectory in zip(files, opened, strict=True)]
            compose(path, parts, by_reference, overwrite=overwrite, environment=environment, sources=sources)
        return len(ids)
    finally:
        for trajectory in opened:
            trajectory.close()


def _check_beside(file: Path, path: Path) -> None:
    if file.resolve().parent != path.resolve().parent:
        raise OutputError(f"{file} is not beside {path}; an index points only to its neighbours — use --copy")


def _check_same_run(first: Trajectory, other: Trajectory) -> None:
    """Raise `TrajectoryError` naming what differs."""
    for trajectory in (first, other):
        require_sound(trajectory)
        with reading(trajectory.path):
            canonical_json(trajectory.environment).encode()
            fingerprint(trajectory.config)
    if fingerprint(first.config) != fingerprint(other.config):
        a, b = first.config, other.config
        keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
        raise TrajectoryError(f"{other.path} is of another run than {first.path}: {', '.join(keys[:6])} differ")
    for name in ("classes", "kept_steps", "timestep", "alpha_bar", "sigma", "force_names", "drift_names"):
        if not np.array_equal(getattr(first, name), getattr(other, name)):
            raise TrajectoryError(f"{other.path} is of another run than {first.path}: {name} differ")
    for name in first.force_names:
        weight = f"forces/{name}/weight"
        if not np.array_equal(first.field(weight)[...], other.field(weight)[...]):
            raise TrajectoryError(f"{other.path} is of another run than {first.path}: {weight} differs")
    kinds = [
        {name: (str(d.dtype), d.shape[1:]) for name, d in t.datasets().items()}
        for t in (first, other)
        if len(t.kept_samples)
    ]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        odd = sorted(name for name in kinds[0].keys() | kinds[1].keys() if kinds[0].get(name) != kinds[1].get(name))
        raise TrajectoryError(f"{other.path} was recorded otherwise than {first.path}: {', '.join(odd[:6])} differ")


def _check_ids(opened: Sequence[Trajectory], ids: np.ndarray, allow_holes: bool) -> None:
    seen: dict[int, Path] = {}
    for trajectory in opened:
        for number in trajectory.ids.tolist():
            if number in seen:
                raise TrajectoryError(f"{trajectory.path} and {seen[number]} both hold sample {number}")
            seen[number] = trajectory.path
    if allow_holes:
        return
    done = {int(number) for t in opened for number in t.ids[t.committed]}
    total = opened[0].config.get("total_videos")
    # ids of a run count from 0; a file that says otherwise is only asked to be complete in itself
    wanted = set(range(total)) if isinstance(total, int) and max(seen) < total <= MOST_SAMPLES else set(seen)
    if missing := sorted(wanted - done):
        open_runs = [f"{t.path} ({_few(left)})" for t in opened if (left := sorted(set(t.ids.tolist()) - done))]
        unfinished = f"; --resume finishes what {', '.join(open_runs[:4])} began" if open_runs else ""
        raise TrajectoryError(
            f"{len(missing)} of {len(wanted)} samples are in none of these files ({_few(missing)}) — say --allow-holes "
            f"to join them without, or name the files that hold them{unfinished}"
        )


def _few(numbers: Sequence[int]) -> str:
    """Rising numbers, as the first of their ranges: ``1, 4-7, …``."""
    starts = [i for i in range(len(numbers)) if not i or numbers[i] != numbers[i - 1] + 1]
    out = []
    for first, after in zip(starts[:6], [*starts[1:], len(numbers)][:6], strict=True):
        out.append(str(numbers[first]) if after == first + 1 else f"{numbers[first]}-{numbers[after - 1]}")
    return ", ".join(out) + (", …" if len(starts) > 6 else "")
