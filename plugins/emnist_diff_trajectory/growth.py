"""Whether a recorded run is the one that is wanted, or that with fewer samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnist_diff.errors import TrajectoryError
from emnist_diff_trajectory.identity import COUNT, run_fingerprint
from emnist_diff_trajectory.other_files import differing


def sample_count(record: Mapping[str, Any]) -> int:
    """How many samples the run of a record has in all, its workers together."""
    count = record.get(COUNT)
    return count if isinstance(count, int) else 0


def grows(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the run of the record `wanted` is that of `recorded` with more samples."""
    return sample_count(recorded) < sample_count(wanted) and run_fingerprint(recorded) == run_fingerprint(wanted)


def shrinks(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Why a run with fewer samples than are there is refused, as part of a message; "" where it has not fewer."""
    if sample_count(recorded) <= sample_count(wanted) or run_fingerprint(recorded) != run_fingerprint(wanted):
        return ""
    held = sample_count(recorded)
    return (
        f"has {held} samples, and {sample_count(wanted)} are wanted: a run is not made smaller — leave "
        f"total_videos = {held}, or take some of them with emnist-diff select"
    )


def require_recorded(path: Path, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise `TrajectoryError` where the record of a trajectory file names other files than a run that repeats it."""
    if odd := differing(recorded, wanted):
        raise TrajectoryError(f"{path} was made with other files ({odd}) — give back the files that made it")
