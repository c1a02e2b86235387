"""When two runs are one run: what their recorded configurations have in common.

What a sample is depends on the record of its run, but not on how many others there are: its noise is keyed by its id,
and classes are dealt in turn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

COUNT = "total_videos"
"""The key of a record that holds the number of samples."""
EVALUATION = ("backend", "precision", "micro_batch")
"""The keys of a record that say how networks are evaluated."""


def fingerprint(data: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `data`."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def canonical_json(data: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spare spaces; refuses NaN. Names of files that Python could not decode are read as
    UTF-8."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # what is no name of a file is its writer's to refuse
        return text


def run_fingerprint(record: Mapping[str, Any]) -> str:
    """The hash of a record but for the number of samples: of two runs with the same one, each sample of the smaller is
    one of the larger, bit for bit."""
    return fingerprint({key: value for key, value in record.items() if key != COUNT})


def evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of how networks are evaluated."""
    return {key: record[key] for key in EVALUATION if key in record}
