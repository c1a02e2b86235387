"""Whose run is in a place that another run wants."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from emnist_diff.errors import EmnistDiffError, OutputError
from emnist_diff_trajectory.plaindata import from_json, read_text

_LONGEST = 60

RESUME_OR_REPLACE = "use --resume to continue it or --overwrite to replace it"


def occupied(path: Path, remedy: str = RESUME_OR_REPLACE, *, run: Path | None = None) -> OutputError:
    """The refusal to replace what is at `path`, which says whose run that is.

    run: the run's folder, where `path` is no trajectory file itself.
    """
    return OutputError(f"{path} already exists{whose(run or path)} — {remedy}")


def whose(place: Path) -> str:
    """`` and holds a run of 'A', seed 1000, written 2026-05-01 10:20 UTC``: what a trajectory file, or one in a folder,
    says of its run; "" where nothing there says anything."""
    recorded = record(place)
    return "" if recorded is None else " and holds " + _described(*recorded)


def record(place: Path) -> tuple[Mapping[str, Any], Path] | None:
    """The configuration that a trajectory file records, or the first one in a folder, else the ``metadata.json`` there;
    and the file that says so. None where nothing there says anything."""
    from emnist_diff_trajectory.reader import Trajectory  # which stands above the writer, who asks

    with suppress(EmnistDiffError, OSError):  # damaged, or none of ours
        for path in sorted(place.glob("*.h5")) if place.is_dir() else [place]:
            with Trajectory(path) as trajectory:
                return trajectory.config, path
    for path in sorted(place.glob("metadata*.json")):
        with suppress(ValueError, OSError):
            if isinstance(data := from_json(read_text(path)), Mapping) and isinstance(data.get("config"), Mapping):
                return data["config"], path
    return None


def _described(config: Mapping[str, Any], path: Path) -> str:
    character = config.get("character", "an unknown class")
    names = character if isinstance(character, list | tuple) else [character]
    classes = repr(",".join(map(str, names)))
    if len(classes) > _LONGEST:
        classes = f"{classes[: _LONGEST - 2]}…'"
    written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    return f"a run of {classes}, seed {config.get('seed')}, written {written:%Y-%m-%d %H:%M} UTC"
