"""Whether a recorded run is the one that is wanted, or that with fewer samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnist_diff.errors import TrajectoryError
from emnist_diff.identity import COUNT, differing, run_fingerprint


def sample_count(record: Mapping[str, Any]) -> int:
    """How many samples the run of a record has in all, its workers together."""
    count = record.get(COUNT)
    return count if isinstance(count, int) else 0


def grows(there: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether the run of the record `here` is that of `there` with more samples."""
    return sample_count(there) < sample_count(here) and run_fingerprint(there) == run_fingerprint(here)


def shrinks(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Why a run with fewer samples than are there is refused, as part of a message; "" where it has not fewer."""
    if sample_count(there) <= sample_count(here) or run_fingerprint(there) != run_fingerprint(here):
        return ""
    return (
        f"has {sample_count(there)} samples, and {sample_count(here)} are wanted: a run is not made smaller — leave "
        f"total_videos = {sample_count(there)}, or take some of them with emnist-diff select"
    )


def require_recorded(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise `TrajectoryError` where the record of a trajectory file names other files than a run that repeats it."""
    if odd := differing(there, here):
        raise TrajectoryError(f"{path} was made with other files ({odd}) — give back the files that made it")
