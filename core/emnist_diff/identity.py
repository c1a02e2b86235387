"""When two runs are one run: what their recorded configurations have in common.

What a sample is depends on the record of its run, but not on how many others there are: its noise is keyed by its id,
and classes are dealt in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnist_diff.config import fingerprint
from emnist_diff.errors import TrajectoryError

_COUNT = "total_videos"
EVALUATION = ("backend", "precision", "micro_batch")
"""The keys of a record that say how networks are evaluated."""


def run_fingerprint(record: Mapping[str, Any]) -> str:
    """The hash of a record but for the number of samples: of two runs with the same one, each sample of the smaller is
    one of the larger, bit for bit."""
    return fingerprint({key: value for key, value in record.items() if key != _COUNT})


def sample_count(record: Mapping[str, Any]) -> int:
    """How many samples the run of a record has in all, its workers together."""
    count = record.get(_COUNT)
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


def evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of how networks are evaluated."""
    return {key: record[key] for key in EVALUATION if key in record}


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Which files of two records have another content, as part of a message; "" where all are the same."""
    held, found = (_table(record.get("files")) for record in (there, here))
    said = []
    for place in sorted(held.keys() | found.keys()):
        one, other = _table(held.get(place)), _table(found.get(place))
        if one.get("sha256") != other.get("sha256"):
            name = str(other.get("name", one.get("name")))
            said.append(f"{place:.80}, {name!r:.80}, has SHA-256 {_short(one)} there and {_short(other)} here")
    return "; ".join(said[:4]) + (f"; and {len(said) - 4} more" if len(said) > 4 else "")


def require_recorded(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise `TrajectoryError` where the record of a trajectory file names other files than a run that repeats it."""
    if odd := differing(there, here):
        raise TrajectoryError(f"{path} was made with other files ({odd}) — give back the files that made it")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(entry: Mapping[str, Any]) -> str:
    return f"{entry['sha256']!s:.12}…" if "sha256" in entry else "none"
