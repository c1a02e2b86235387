"""The checkpoint and the guides of a recorded run, which are found by the hashes in its record."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from emnist_diff.assembly.sources import opened
from emnist_diff.errors import CheckpointError
from emnist_diff.plugins import Registry
from emnist_diff_plugins.checkpoint_search import Wanted, find, missing
from emnist_diff_trajectory.contract import EarlierRun


def checkpoint_of(registry: Registry, run: EarlierRun) -> str | None:
    """The checkpoint with the recorded hash: one that is found near the record, or None for the default one. Raises
    `CheckpointError` where there is none."""
    sha256 = str(run.config["checkpoint_sha256"])
    with suppress(CheckpointError):
        if opened(registry, None).source.identity == sha256:
            return None
    wanted = Wanted(sha256, facts(run.environment.get("checkpoint")))
    return _located(registry, wanted, run.path, "the checkpoint", "--checkpoint FILE")


def guides_of(registry: Registry, run: EarlierRun, named: Mapping[str, str]) -> dict[str, str]:
    """Name → file of the recorded guides that are not named. Raises `CheckpointError` for one that is not found."""
    of_each = facts(run.environment.get("guides"))
    return {
        name: _located(
            registry,
            Wanted(str(sha256), facts(of_each.get(name))),
            run.path,
            f"the guide {name!r:.80},",
            f"--guide {name}=FILE",
        )
        for name, sha256 in facts(run.config.get("guide_sha256")).items()
        if name not in named
    }


def completed(registry: Registry, run: EarlierRun, checkpoint: str | None) -> dict[str, Any]:
    """The settings of a record, with the files that it knows by their hashes alone; guides that are not found are left
    to whoever names them.  checkpoint: one that stands above the record's. Raises as `checkpoint_of`."""
    layer = dict(run.config)
    if layer.get("checkpoint_sha256") is not None and (checkpoint or layer.get("checkpoint")) is None:
        layer["checkpoint"] = checkpoint_of(registry, run)
    if layer.get("guide_sha256") is not None and not layer.get("guides"):
        with suppress(CheckpointError):
            layer["guides"] = guides_of(registry, run, {})
    return layer


def facts(recorded: object) -> Mapping[str, Any]:
    """A table of a record; an empty one for what is none."""
    return recorded if isinstance(recorded, Mapping) else {}


def _located(registry: Registry, wanted: Wanted, beside: Path, what: str, option: str) -> str:
    path = find(registry, wanted, beside)
    if path is None:
        raise missing(wanted, beside, what, option)
    return str(path)
