"""The network that a checkpoint's header names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emnist_diff.components import Component, make
from emnist_diff.config import ComponentConfig
from emnist_diff.records import DenoiserSpec

if TYPE_CHECKING:
    from emnist_diff.plugins import Registry
    from emnist_diff_plugins.containers.checkpoint import CheckpointHeader


def network_of(registry: Registry, header: CheckpointHeader) -> Component:
    """The family that a header names, with its settings. Raises the errors of `components.make`."""
    return make(registry, DenoiserSpec, ComponentConfig(header.family, settings=header.network))
