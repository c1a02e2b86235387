"""Presets: named pieces of configuration, laid under what the user says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from emnist_diff.components import call_component, make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.plugins import Registry
from emnist_diff.shown import shown
from emnist_diff.structuring import structure
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.contract import PresetSpec, SettingsReview
from emnist_diff_plugins.forms import read_layer

_ADDED = ("forces", "drifts")


@attrs.frozen
class Presets(SettingsReview):
    """Puts what presets stand for beneath the user's own settings."""

    def expand(self, settings: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
        """`SettingsReview.expand`. Raises as `expanded`."""
        return expanded(registry, settings)


def expanded(registry: Registry, layer: Mapping[str, Any]) -> dict[str, Any]:
    """A normalised layer with its ``preset`` (one or a list, components or names of files) replaced by what they
    stand for: their forces and drifts stand before the user's own, everything else is below what the user sets.

    Raises `ConfigError` when two presets set different values that the user leaves open.
    """
    out = dict(layer)
    requested = out.pop("preset", None)
    if requested is None:
        return out
    below: dict[str, Any] = {}
    for item in requested if isinstance(requested, list | tuple) else [requested]:
        name, preset = layer_of(registry, item)
        for key, value in preset.items():
            if key in _ADDED:
                below[key] = [*below.get(key, []), *value]
            elif key not in layer and below.get(key, value) != value:
                raise ConfigError(
                    f"preset {name!r} says {key} = {shown(value)}, "
                    f"another says {shown(below[key])} — choose one with --{key}"
                )
            else:
                below[key] = value
    added = {key: [*below.get(key, []), *(out.get(key) or [])] for key in _ADDED if key in below}
    return {**below, **out, **added}


def layer_of(registry: Registry, item: Any) -> tuple[str, dict[str, Any]]:
    """The name of a preset and its normalised layer: a plugin's, or a ``.toml`` or ``.json`` file's. Raises as
    `components.make` and `forms.read_layer`."""
    requested = runconfig.component(item, "preset")
    name = requested["name"]
    if name.endswith((".toml", ".json")):
        if requested.get("settings"):
            raise ConfigError(f"preset {name!r} is a file and takes no settings")
        layer = read_layer(name, registry)
        if "preset" in layer:
            raise ConfigError(f"preset {name!r} names a preset itself — write out what it stands for")
        return name, runconfig.normalised(layer)
    preset = make(registry, PresetSpec, structure(requested, ComponentConfig, "preset"))
    layer = call_component(preset.label("preset"), preset.object.expand)
    if not isinstance(layer, Mapping):
        raise PluginError(f"preset {preset.name!r} of {preset.distribution} expanded to {shown(layer)}, not to a table")
    return preset.name, runconfig.normalised(layer)
