"""The files that the other workers of a run leave in its directory, and what they say of this one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.continuing import run_fingerprint
from emnist_diff.errors import OutputError, TrajectoryError
from emnist_diff.protocols import RunHeader
from emnist_diff.trajectory.reader import Trajectory

_OF_A_WORKER = re.compile(r"(?P<stem>.+)-(?P<rank>\d{4,})-of-(?P<count>\d{4,})(?:\.[^.]*)?")


@attrs.frozen
class WorkerFile:
    """A file with the name of a worker's: `stem`, ``-0003-of-0010``, and a suffix."""

    path: Path
    stem: str
    rank: int
    count: int


def worker_files(folder: Path) -> list[WorkerFile]:
    """The workers' files in a directory, by name; none where the directory is not there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found = ((folder / name, _OF_A_WORKER.fullmatch(name)) for name in names if not name.startswith("."))
    return [WorkerFile(p, m["stem"], int(m["rank"]), int(m["count"])) for p, m in found if m is not None]


def missing_ranks(files: Iterable[WorkerFile], count: int) -> list[int]:
    """The ranks of `count` workers that have none of these files."""
    return sorted(set(range(count)) - {file.rank for file in files if file.count == count})


def few(numbers: list[int]) -> str:
    """The first of some numbers, in words: ``3``, ``3, 7 and 8``, ``1, 2, 3, 4 and 92 more``."""
    if len(numbers) > 5:
        return f"{', '.join(map(str, numbers[:4]))} and {len(numbers) - 4} more"
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def require_same_workers(header: RunHeader) -> None:
    """Raise `OutputError` where the directory of a run holds files of as many workers as this run does not have: it
    would make samples again that are there. The message says which rank and world size to give."""
    others = [file for file in worker_files(header.output) if file.count != header.world_size]
    if others:
        raise OutputError(
            f"{header.output} holds files of {others[0].count} workers ({others[0].path.name}), and this is "
            f"{_itself(header)} — {_way_out(header, others)}, or name another --output"
        )
    if header.world_size > 1 and (alone := _lone_file(header)) is not None:
        raise OutputError(
            f"{alone} holds the samples of a lone run, and this is {_itself(header)} — leave --rank, --world-size and "
            "--distributed out to continue that one, or name another --output"
        )


def _itself(header: RunHeader) -> str:
    return "a lone run" if header.world_size == 1 else f"worker {header.rank} of {header.world_size}"


def _way_out(header: RunHeader, others: list[WorkerFile]) -> str:
    """The rank and world size to give, as exactly as the files let them be known."""
    count = others[0].count
    slurm = header.environment.get("slurm", {})
    element = slurm.get("SLURM_ARRAY_TASK_ID")
    if element is not None and (rank := _rank_of(element, others)) is not None:
        return f"for this element ({element}) of the array say --rank {rank} --world-size {count}"
    lacking = missing_ranks(others, count)
    files = f" (rank{'s'[: len(lacking) != 1]} {few(lacking)} left no file)" if lacking else ""
    return f"say --rank R --world-size {count} with the rank that is to be made{files}"


def _rank_of(element: str, files: Iterable[WorkerFile]) -> int | None:
    """The rank that an element of an array had, by what the files of its neighbours record."""
    for file in files:
        recorded = _environment(file.path).get("slurm", {})
        try:
            number, first = int(recorded["SLURM_ARRAY_TASK_ID"]), int(recorded["SLURM_ARRAY_TASK_MIN"])
            step, count = int(recorded.get("SLURM_ARRAY_TASK_STEP", 1)), int(recorded["SLURM_ARRAY_TASK_COUNT"])
            rank, off = divmod(int(element) - first, step)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        if count == file.count and (number - first) // step == file.rank and not off and 0 <= rank < count:
            return rank
    return None


def _environment(path: Path) -> Mapping[str, Any]:
    """What a trajectory file says of where it was made; nothing for any other file."""
    if path.suffix != ".h5":
        return {}
    try:
        with Trajectory(path) as trajectory:
            said = trajectory.environment
    except TrajectoryError:
        return {}
    return said if isinstance(said.get("slurm"), dict) else {}


def _lone_file(header: RunHeader) -> Path | None:
    """A file in the directory that a lone run of these samples has left: no index, and joined of no workers' files."""
    ours = run_fingerprint(header.config)
    for path in sorted(header.output.glob("*.h5")):
        if _OF_A_WORKER.fullmatch(path.name):
            continue
        try:
            with Trajectory(path) as there:
                alone = not there.sources and not {"worker", "workers"} & there.environment.keys()
                if alone and run_fingerprint(there.config) == ours and len(there) == there.config.get("total_videos"):
                    return path
        except TrajectoryError:
            continue
    return None
