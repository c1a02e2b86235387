"""Configurations in files of any form that an installed plugin reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.paths import StrPath
from emnist_diff.plugins import Registry
from emnist_diff_plugins.contract import FormSpec
from emnist_diff_plugins.earlier import Earlier
from emnist_diff_plugins.recorded import completed
from emnist_diff_trajectory.contract import EarlierRun

_HASH = "checkpoint_sha256"
"""What a whole record says, and a part of one does not."""


def read_layer(path: StrPath, registry: Registry | None = None, checkpoint: str | None = None) -> Mapping[str, Any]:
    """What a file says of a run, as a layer for `layers.configure` or `runconfig.resolve`.

    A recorded run's file is one too, and so is its configuration alone: its checkpoint and its guides are found by the
    hashes in it (`recorded.completed`).

    registry: the installed plugins when left out.  checkpoint: one that stands above the file's.

    Raises `ConfigError` naming the file for one that cannot be read, and for what does not hold in it,
    `CheckpointError` for a record whose checkpoint is not found.
    """
    registry, path = registry or installed(), Path(path)
    run = Earlier.of(registry).read(path)
    if run is None or _HASH not in run.config:
        run = EarlierRun(path, _layer(path, registry, checkpoint), {})
    return completed(registry, run, checkpoint)


def _layer(path: Path, registry: Registry, checkpoint: str | None) -> Mapping[str, Any]:
    """What the first form says that knows the file."""
    for entry in sorted(registry.of(FormSpec), key=lambda entry: entry.spec.default):
        form = make(registry, FormSpec, ComponentConfig(entry.qualified)).object
        layer: Mapping[str, Any] | None = form.layer(path, registry, checkpoint)
        if layer is not None:
            return layer
    raise ConfigError(f"no installed plugin reads the configuration {str(path)!r} — see emnist-diff plugins list")
