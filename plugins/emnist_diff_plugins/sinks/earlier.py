"""What sinks beside the trajectory file leave of a run's record, and configurations in that form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.frames import worker_name
from emnist_diff_plugins.documents import table
from emnist_diff_trajectory.contract import EarlierRun
from emnist_diff_trajectory.plaindata import from_json

_MOST_JSON = 1 << 26
_METADATA, _MARK = "metadata.json", ".run.json"


@attrs.frozen
class RecordReader:
    """A `RunReader` of ``metadata.json``, which holds a whole record, and of the marks that sinks leave in
    their folders, which say how networks were evaluated."""

    def runs(self, folder: Path, rank: int, world_size: int) -> Iterator[EarlierRun]:
        """What the files of this worker say: the metadata first."""
        marks = sorted(folder.glob(f"*/{worker_name(_MARK, rank, world_size)}"))
        for path in (folder / worker_name(_METADATA, rank, world_size), *marks):
            if (run := self.read(path)) is not None:
                yield run

    def read(self, path: Path) -> EarlierRun | None:
        """What a file of this kind says; None for any other, and for a damaged one."""
        if path.suffix != ".json" or not path.name.startswith(("metadata", _MARK.partition(".json")[0])):
            return None
        data = _json(path)
        config = data.get("config", data.get("evaluation"))
        environment = data.get("environment")
        if not isinstance(config, dict):
            return None
        known = dict(environment) if isinstance(environment, dict) else {}
        if isinstance(checkpoint := data.get("checkpoint"), dict):
            known["checkpoint"] = {"file": checkpoint.get("path"), "epoch": checkpoint.get("epoch")}
        return EarlierRun(path, config, known)


@attrs.frozen
class MetadataForm:
    """The ``metadata.json`` of a run, as a configuration of the same run."""

    def layer(self, path: Path, registry: Any, checkpoint: str | None) -> Mapping[str, Any] | None:
        """The record in a file that holds one and its hash. Raises `ConfigError` for a file that cannot be read."""
        data = table(path) or {}
        known = isinstance(data.get("config"), Mapping) and "config_sha256" in data
        return dict(data["config"]) if known else None


def _json(path: Path) -> dict[str, Any]:
    """The table in a JSON file; an empty one where there is none that can be read."""
    try:
        data = from_json(path.read_text(encoding="utf-8")) if path.stat().st_size <= _MOST_JSON else None
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
