"""When two runs are one run: what their recorded configurations have in common.

What a sample is depends on the record of its run, but not on how many others there are: its noise is keyed by its id,
and classes are dealt in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emnist_diff.config import fingerprint

COUNT = "total_videos"
"""The key of a record that holds the number of samples."""
EVALUATION = ("backend", "precision", "micro_batch")
"""The keys of a record that say how networks are evaluated."""


def run_fingerprint(record: Mapping[str, Any]) -> str:
    """The hash of a record but for the number of samples: of two runs with the same one, each sample of the smaller is
    one of the larger, bit for bit."""
    return fingerprint({key: value for key, value in record.items() if key != COUNT})


def evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of how networks are evaluated."""
    return {key: record[key] for key in EVALUATION if key in record}


def differing(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Which files of two records have another content, as part of a message; "" where all are the same."""
    old, new = (_table(record.get("files")) for record in (recorded, current))
    parts = []
    for place in sorted(old.keys() | new.keys()):
        one, other = _table(old.get(place)), _table(new.get(place))
        if one.get("sha256") != other.get("sha256"):
            name = str(other.get("name", one.get("name")))
            parts.append(f"{place:.80}, {name!r:.80}, has SHA-256 {_short(one)} there and {_short(other)} here")
    return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} more" if len(parts) > 4 else "")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(entry: Mapping[str, Any]) -> str:
    return f"{entry['sha256']!s:.12}…" if "sha256" in entry else "none"
