"""The configuration of a run from plain data, as files and command lines have it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from emnist_diff import seeds
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff.structuring import aliases, hints, structure, unstructure

_COMPONENTS = {name: "tuple" in str(hint) for name, hint in hints(RunConfig).items() if "ComponentConfig" in str(hint)}
"""Settings that are components, and whether several."""
UNRELATED_TO_SAMPLES = tuple(field.name for field in attrs.fields(RunConfig) if not field.metadata.get("decides", True))
"""Settings that do not decide what the samples are; what does of checkpoint and guides is their hashes, and the
resolved micro-batch is recorded beside them."""


def component(data: object, what: str) -> dict[str, Any]:
    """The plain form of a `ComponentConfig` from a name, a table in the short form, or one in the long form.

    The short form puts the settings beside the name; they may also stand in a ``cfg`` table. `weight` is a number
    multiplied onto the component.
    """
    if isinstance(data, str):
        return {"name": data}
    if isinstance(data, ComponentConfig):  # as it is, for it may hold functions
        return attrs.asdict(data, recurse=False)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{what}: expected a name or a table with a name, got {shown(data)}")
    rest = dict(data)
    if not isinstance(rest.get("name"), str):
        raise ConfigError(f"{what}: a component needs a name, got {shown(data)}")
    out: dict[str, Any] = {"name": rest.pop("name")}
    for key in ("weight", "clip_abs", "clip_norm"):
        if key in rest:
            out[key] = rest.pop(key)
    settings: dict[str, Any] = {}
    nested = [(key, rest.pop(key)) for key in ("settings", "cfg") if key in rest]
    for key, inner in [*nested, (what, rest)]:
        if not isinstance(inner, Mapping):
            raise ConfigError(f"{what} {out['name']!r}: {key} must be a table, got {shown(inner)}")
        if twice := settings.keys() & inner.keys():
            raise ConfigError(f"{what} {out['name']!r}: {min(twice)!r} is set twice")
        settings.update(inner)
    out["settings"] = settings
    return out


def normalised(layer: Mapping[str, Any]) -> dict[str, Any]:
    """One layer of configuration with canonical keys and components in their long form."""
    table, out = aliases(RunConfig), {}
    for written, value in layer.items():
        key = written.replace("-", "_")
        key = table.get(key, key)
        if key in out:
            raise ConfigError(f"{written!r} repeats another spelling of {key!r}")
        if key == "seed":
            value = seeds.seed(value)
        elif key in _COMPONENTS and value is not None and not _COMPONENTS[key]:
            value = component(value, key)
        elif key in _COMPONENTS and value is not None:
            if not isinstance(value, list | tuple):
                raise ConfigError(f"{key}: expected a list, got {shown(value)}")
            value = [component(item, f"{key}[{i}]") for i, item in enumerate(value)]
        out[key] = value
    return out


def resolve(*layers: Mapping[str, Any]) -> RunConfig:
    """The configuration from layers of plain data, weakest first; a later layer replaces a key as a whole.

    Raises `ConfigError` for unknown keys, wrong types and impossible values.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(normalised(layer))
    return structure(merged, RunConfig, "the run configuration")


def to_dict(config: RunConfig) -> dict[str, Any]:
    """JSON-ready data that `resolve` turns back into an equal configuration."""
    return dict(unstructure(config))
