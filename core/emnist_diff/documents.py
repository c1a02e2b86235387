"""Configurations in files: a table of settings, or one of the forms that plugins read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig, read_file
from emnist_diff.discovery import installed
from emnist_diff.paths import StrPath
from emnist_diff.plugins import Registry
from emnist_diff.records import FormSpec


def read_layer(path: StrPath, registry: Registry | None = None, checkpoint: str | None = None) -> Mapping[str, Any]:
    """What a file says of a run, as a layer for `layers.configure` or `config.resolve`.

    registry: the installed plugins when left out.  checkpoint: one that stands above the file's.

    Raises `ConfigError` as `config.read_file`, and for what does not hold in a file of another form.
    """
    data = read_file(path)
    registry = registry or installed()
    for entry in registry.of(FormSpec):
        form = make(registry, FormSpec, ComponentConfig(entry.qualified)).object
        if form.recognises(data):
            layer: Mapping[str, Any] = form.layer(data, registry, checkpoint)
            return layer
    return data
