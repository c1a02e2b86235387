"""Going on with what an earlier run left: by the same arithmetic, and with more samples than it had, if wanted.

What a sample is depends on the record of its run, but not on how many others there are: its noise is keyed by its id,
and classes are dealt in turn. What the choices ``auto`` mean may depend on their number, so that a run which goes on
takes them from the record of the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import structlog

from emnist_diff.backends import AUTO
from emnist_diff.config import Component, RunConfig, fingerprint
from emnist_diff.errors import ConfigError, TrajectoryError
from emnist_diff.plaindata import from_json
from emnist_diff.protocols import worker_name
from emnist_diff.trajectory.reader import Trajectory

log = structlog.get_logger()

_COUNT = "total_videos"
_EVALUATION = ("backend", "precision", "micro_batch")
_MOST_JSON = 1 << 26


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
    return {key: record[key] for key in _EVALUATION if key in record}


def as_before(settings: RunConfig, folder: Path) -> RunConfig:
    """The settings with backend, precision and rows of a call as the earlier run in its directory had them, where they
    are left to choice; unchanged where no earlier run says."""
    before = next(_evaluations(folder, settings), {})
    taken: dict[str, Any] = {}
    backend, precision, rows = (before.get(key) for key in _EVALUATION)
    if settings.backend.name == AUTO and isinstance(backend, Mapping) and isinstance(backend.get("name"), str):
        chosen = backend.get("settings")
        taken["backend"] = Component(backend["name"], settings=chosen if isinstance(chosen, dict) else {})
    if settings.precision == "auto" and isinstance(precision, str):
        taken["precision"] = precision
    if settings.micro_batch is None and isinstance(rows, int):
        taken["micro_batch"] = rows
    try:
        return attrs.evolve(settings, **taken)
    except (ConfigError, ValueError) as error:  # what is there is damaged: the sinks say so
        log.debug("run.not_continued", folder=str(folder), error=str(error))
        return settings


def _evaluations(folder: Path, settings: RunConfig) -> Iterator[dict[str, Any]]:
    """What the files of this worker in a run's directory say of how its networks were evaluated, first to last."""
    if not folder.is_dir():
        return

    def own_name(name: str) -> str:
        return worker_name(name, settings.rank, settings.world_size)

    for path in sorted(folder.glob(own_name("*.h5"))):
        try:
            with Trajectory(path, index=False) as trajectory:
                yield evaluation(trajectory.config)
        except TrajectoryError:
            continue
    if isinstance(config := _json(folder / own_name("metadata.json")).get("config"), dict):
        yield evaluation(config)
    for path in sorted(folder.glob(f"*/{own_name('.run.json')}")):
        if isinstance(said := _json(path).get("evaluation"), dict):
            yield said


def _json(path: Path) -> dict[str, Any]:
    """The table in a JSON file; an empty one where there is none that can be read."""
    try:
        data = from_json(path.read_text(encoding="utf-8")) if path.stat().st_size <= _MOST_JSON else None
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
