"""Components of a configuration made real: names resolved, settings structured, errors in one line."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.config import Component
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.plugins import Registry
from emnist_diff.records import DriftSpec, ForceSpec, Spec
from emnist_diff.schedules import Constant
from emnist_diff.structuring import structure, unstructure


@attrs.frozen(eq=False)
class Made:
    """A component ready to use: its canonical name, the object, and its full settings as plain data."""

    name: str
    object: Any
    distribution: str
    version: str
    settings: dict[str, Any]


def make(registry: Registry, kind: type[Spec], asked: Component) -> Made:
    """The component that `asked` names, with its settings.

    Raises `UnknownName`, `PluginError` or `ConfigError`, each naming the component.
    """
    entry = registry.resolve(kind, asked.name)
    if asked.weight != Constant(1) and kind not in (ForceSpec, DriftSpec):
        raise ConfigError(f"{kind.kind} {entry.spec.name!r} has no weight — only forces and drifts are weighted")
    if (asked.clip_abs is not None or asked.clip_norm is not None) and kind is not ForceSpec:
        raise ConfigError(f"{kind.kind} {entry.spec.name!r} cannot be clipped — only forces can")
    factory = registry.load(kind, asked.name)
    if not attrs.has(factory):
        raise PluginError(
            f"{kind.kind} {entry.spec.name!r} of {entry.distribution} is broken: {entry.spec.factory} is no attrs class"
        )
    beside = {ForceSpec: ("weight", "clip_abs", "clip_norm"), DriftSpec: ("weight",)}.get(kind, ())
    made = structure(dict(asked.settings), factory, f"{kind.kind} {entry.spec.name!r}", beside)
    return Made(entry.spec.name, made, entry.distribution, entry.version, dict(unstructure(made)))
