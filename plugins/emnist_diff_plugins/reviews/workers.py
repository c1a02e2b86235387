"""What the other workers of a run left in its directory, and what that says of this one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from emnist_diff.assembly.assemble import Assembly
from emnist_diff.errors import OutputError
from emnist_diff.frames import RunHeader
from emnist_diff.surroundings import Review
from emnist_diff_plugins.earlier import Earlier
from emnist_diff_trajectory.identity import run_fingerprint
from emnist_diff_trajectory.workerfiles import WorkerFile, few, missing_ranks, worker_files


@attrs.frozen
class SameWorkers(Review):
    """Refuses a run whose directory holds what another number of workers left."""

    def require_sinks(self, assembly: Assembly) -> None:
        """`Review.require_sinks`. Raises `OutputError`."""
        if assembly.sinks:
            require_same_workers(assembly.header, Earlier.of(assembly.registry))


def require_same_workers(header: RunHeader, earlier: Earlier) -> None:
    """Raise `OutputError` where the directory of a run holds files of as many workers as this run does not have: it
    would make samples again that are there. The message says which rank and world size to give."""
    others = [file for file in worker_files(header.output) if file.count != header.world_size]
    if others:
        raise OutputError(
            f"{header.output} holds files of {others[0].count} workers ({others[0].path.name}), and this is "
            f"{_itself(header)} — {_remedy(header, others, earlier)}, or name another --output"
        )
    if header.world_size > 1 and (alone := _lone_file(header, earlier)) is not None:
        raise OutputError(
            f"{alone} holds the samples of a lone run, and this is {_itself(header)} — leave --rank, --world-size and "
            "--distributed out to continue that one, or name another --output"
        )


def _itself(header: RunHeader) -> str:
    return "a lone run" if header.world_size == 1 else f"worker {header.rank} of {header.world_size}"


def _remedy(header: RunHeader, others: list[WorkerFile], earlier: Earlier) -> str:
    """The rank and world size to give, as exactly as the files let them be known."""
    count = others[0].count
    slurm = header.environment.get("slurm", {})
    element = slurm.get("SLURM_ARRAY_TASK_ID")
    if element is not None and (rank := _rank_of(element, others, earlier)) is not None:
        return f"for this element ({element}) of the array use --rank {rank} --world-size {count}"
    lacking = missing_ranks(others, count)
    files = f" (rank{'s'[: len(lacking) != 1]} {few(lacking)} left no file)" if lacking else ""
    return f"use --rank R --world-size {count} with the rank that is to be made{files}"


def _rank_of(element: str, files: Iterable[WorkerFile], earlier: Earlier) -> int | None:
    """The rank that an element of an array had, by what the files of its neighbours record."""
    for file in files:
        run = earlier.read(file.path)
        recorded = {} if run is None else run.environment.get("slurm", {})
        try:
            number, first = int(recorded["SLURM_ARRAY_TASK_ID"]), int(recorded["SLURM_ARRAY_TASK_MIN"])
            step, count = int(recorded.get("SLURM_ARRAY_TASK_STEP", 1)), int(recorded["SLURM_ARRAY_TASK_COUNT"])
            rank, off = divmod(int(element) - first, step)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
        if count == file.count and (number - first) // step == file.rank and not off and 0 <= rank < count:
            return rank
    return None


def _lone_file(header: RunHeader, earlier: Earlier) -> Path | None:
    """A file in the directory that a lone run of these samples has left: no index, and joined of no workers' files."""
    ours = run_fingerprint(header.config)
    for run in earlier.runs(header.output):
        alone = run.samples is not None and not run.joined and "worker" not in run.environment
        if alone and run_fingerprint(run.config) == ours and run.samples == run.config.get("total_videos"):
            return run.path
    return None
