"""The id of a run, which all its workers must agree on without talking to each other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from emnist_diff.frames import RunHeader
from emnist_diff_trajectory.identity import run_fingerprint
from emnist_diff_trajectory.workerfiles import worker_files

_SPACE = uuid.UUID("6f1c9a52-2a7e-5f0b-9c55-0d3f6f0d8a11")
_MOST_JSON = 1 << 26


def run_id(header: RunHeader) -> str:
    """A UUID. Of a lone run it is drawn. Of several workers it is the one that the files of others of this run say, and
    else a hash of the run's record and of the SLURM job, so that workers which start together come to the same."""
    if header.world_size == 1:
        return str(uuid.uuid4())
    if not header.overwrite and (known := _of_others(header)) is not None:
        return known
    slurm = header.environment.get("slurm")
    job = slurm if isinstance(slurm, Mapping) else {}
    number = job.get("SLURM_ARRAY_JOB_ID", job.get("SLURM_JOB_ID", ""))
    return str(uuid.uuid5(_SPACE, f"{run_fingerprint(header.config)} {header.world_size} {number}"))


def _of_others(header: RunHeader) -> str | None:
    """What the lowest rank among the workers that have written their metadata says."""
    files = [file for file in worker_files(header.output) if file.stem == "metadata" and file.path.suffix == ".json"]
    for file in sorted(files, key=lambda file: file.rank):
        try:
            data: Any = json.loads(file.path.read_bytes()) if file.path.stat().st_size <= _MOST_JSON else None
            if run_fingerprint(data["config"]) == run_fingerprint(header.config):
                return str(uuid.UUID(data["run_id"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return None
