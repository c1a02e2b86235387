"""Settings that lie beneath the user's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.plugins import Registry
from emnist_diff.records import LayerSpec


def beneath(registry: Registry, left_out: Collection[str]) -> list[Mapping[str, Any]]:
    """The settings that lie beneath the user's own.  left_out: the names of the layers not to ask.

    Raises `ConfigError` for what is wrong with them.
    """
    asked = [entry for entry in registry.of(LayerSpec) if entry.spec.name not in left_out]
    return [make(registry, LayerSpec, ComponentConfig(entry.qualified)).object.settings() for entry in asked]
