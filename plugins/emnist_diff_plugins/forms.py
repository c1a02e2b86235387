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
from emnist_diff.records import FormSpec


def read_layer(path: StrPath, registry: Registry | None = None, checkpoint: str | None = None) -> Mapping[str, Any]:
    """What a file says of a run, as a layer for `layers.configure` or `config.resolve`.

    registry: the installed plugins when left out.  checkpoint: one that stands above the file's.

    Raises `ConfigError` naming the file for one that cannot be read, and for what does not hold in it.
    """
    registry = registry or installed()
    for entry in sorted(registry.of(FormSpec), key=lambda entry: entry.spec.default):
        form = make(registry, FormSpec, ComponentConfig(entry.qualified)).object
        layer: Mapping[str, Any] | None = form.layer(Path(path), registry, checkpoint)
        if layer is not None:
            return layer
    raise ConfigError(f"no installed plugin reads the configuration {str(path)!r} — see emnist-diff plugins list")
