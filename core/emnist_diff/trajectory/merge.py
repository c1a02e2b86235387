"""Workers' files, joined: by an index that points to them, or by one file with copies of their samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emnist_diff.config import MOST_SAMPLES, canonical_json, fingerprint
from emnist_diff.deciding import differing
from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.other_workers import few, missing_ranks
from emnist_diff.other_workers import worker_files as all_worker_files
from emnist_diff.trajectory.compose import Part, by_reference, compose, shared_environment
from emnist_diff.trajectory.merged import Source
from emnist_diff.trajectory.opening import reading
from emnist_diff.trajectory.reader import Trajectory
from emnist_diff.trajectory.verify import require_sound


def worker_files(folder: Path, stem: str = "trajectory") -> list[Path]:
    """The files that workers left in a directory. Raises `TrajectoryError` when there are none."""
    found = [file for file in all_worker_files(folder) if file.stem == stem and file.path.suffix == ".h5"]
    if not found:
        raise TrajectoryError(f"{str(folder)!r} holds no {stem}-RANK-of-WORLD.h5 — name the files")
    counts = sorted({file.count for file in found})
    if len(counts) > 1:
        raise TrajectoryError(
            f"{str(folder)!r} holds files of runs with {few(counts)} workers — name the files of one of them"
        )
    return [file.path for file in found]


def _too_few(files: Sequence[Path]) -> str:
    """The message where there is nothing to join: what there is, and which workers' files are not."""
    if not files:
        return "merge joins the files of a run's workers, and got none — name them, or their directory"
    beside = [file for file in all_worker_files(files[0].parent) if file.path.suffix == ".h5"]
    mine = next((file for file in beside if file.path == files[0]), None)
    if mine is None:
        return f"merge joins the files of a run's workers, and {files[0]} is not one of them: it is whole as it is"
    lacking = missing_ranks([file for file in beside if file.stem == mine.stem], mine.count)
    alone = f"{files[0]} is the file of worker {mine.rank} of {mine.count} alone"
    if not lacking:
        return f"{alone}: name the others too"
    one = len(lacking) == 1
    where = f"the file{'s'[: not one]} of rank{'s'[: not one]} {few(lacking)} {'is' if one else 'are'} not beside it"
    return f"{alone}: {where} — make what is missing with --rank R --world-size {mine.count}"


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
        raise TrajectoryError(_too_few(files))
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
        if contents := differing(a, b):
            raise TrajectoryError(f"{other.path} was made with other files than {first.path} ({contents})")
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
        unfinished += _no_file_of(opened, missing)
        raise TrajectoryError(
            f"{len(missing)} of {len(wanted)} samples are in none of these files ({_few(missing)}) — say --allow-holes "
            f"to join them without, or name the files that hold them{unfinished}"
        )


def _no_file_of(opened: Sequence[Trajectory], missing: Sequence[int]) -> str:
    """Of which workers no file is among these, and how their samples are made; nothing where all are."""
    workers = [worker for t in opened if isinstance(worker := t.environment.get("worker"), dict)]
    counts = {worker.get("world_size") for worker in workers}
    count = counts.pop() if len(counts) == 1 else None
    if not isinstance(count, int) or count < 2:
        return ""
    lacking = sorted({number % count for number in missing} - {worker.get("rank") for worker in workers})
    if not lacking:
        return ""
    how = lacking[0] if len(lacking) == 1 else "R"
    ranks = f"rank{'s'[: len(lacking) != 1]} {few(lacking)}"
    return f"; no file is of {ranks}, whose samples --rank {how} --world-size {count} makes"


def _few(numbers: Sequence[int]) -> str:
    """Rising numbers, as the first of their ranges: ``1, 4-7, …``."""
    starts = [i for i in range(len(numbers)) if not i or numbers[i] != numbers[i - 1] + 1]
    out = []
    for first, after in zip(starts[:6], [*starts[1:], len(numbers)][:6], strict=True):
        out.append(str(numbers[first]) if after == first + 1 else f"{numbers[first]}-{numbers[after - 1]}")
    return ", ".join(out) + (", …" if len(starts) > 6 else "")
