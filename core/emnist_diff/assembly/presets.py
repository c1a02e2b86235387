"""Presets: named pieces of configuration, laid under what the user says.

Every installed preset is also a function of this module that returns its stack of forces::

    from emnist_diff.assembly.presets import subtract

    ForceConfig(base="uncond", force_stack=subtract("k", "K", w_pos=3.0, w_neg=2.0))

A stack alone is added to the base that the configuration says. ``ForceConfig(preset="subtract", preset_args={…})`` is
the preset as a whole, with the base that its formula starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff import config
from emnist_diff.components import call_component, make
from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.plugins import Registry
from emnist_diff.records import PresetSpec
from emnist_diff.schedules import Function, Product, Schedule, to_data
from emnist_diff.shown import shown
from emnist_diff.structuring import structure

_ADDED = ("forces", "drifts")


def expanded(registry: Registry, said: Mapping[str, Any]) -> dict[str, Any]:
    """A normalised layer with its ``preset`` (one or a list, components or names of files) replaced by what they
    stand for: their forces and drifts stand before the user's own, everything else is below what the user says.

    Raises `ConfigError` when two presets say different things of one setting that the user leaves open.
    """
    out = dict(said)
    asked = out.pop("preset", None)
    if asked is None:
        return out
    below: dict[str, Any] = {}
    for item in asked if isinstance(asked, list | tuple) else [asked]:
        name, layer = _layer(registry, item)
        for key, value in layer.items():
            if key in _ADDED:
                below[key] = [*below.get(key, []), *value]
            elif key not in said and below.get(key, value) != value:
                raise ConfigError(
                    f"preset {name!r} says {key} = {shown(value)}, "
                    f"another says {shown(below[key])} — say which with --{key}"
                )
            else:
                below[key] = value
    added = {key: [*below.get(key, []), *(out.get(key) or [])] for key in _ADDED if key in below}
    return {**below, **out, **added}


def _layer(registry: Registry, item: Any) -> tuple[str, dict[str, Any]]:
    """The name of a preset and its normalised layer: a plugin's, or a ``.toml`` or ``.json`` file's."""
    asked = config.component(item, "preset")
    name = asked["name"]
    if name.endswith((".toml", ".json")):
        if asked.get("settings"):
            raise ConfigError(f"preset {name!r} is a file and takes no settings")
        layer = config.read_file(Path(name))
        if "preset" in layer:
            raise ConfigError(f"preset {name!r} names a preset itself — write out what it stands for")
        return name, config.normalised(layer)
    made = make(registry, PresetSpec, structure(asked, config.ComponentConfig, "preset"))
    layer = call_component(made.label("preset"), made.object.expand)
    if not isinstance(layer, Mapping):
        raise PluginError(f"preset {made.name!r} of {made.distribution} expanded to {shown(layer)}, not to a table")
    return made.name, config.normalised(layer)


def stack(name: str, *arguments: Any, **settings: Any) -> list[dict[str, Any]]:
    """The forces of the installed preset `name`, as tables for a ``force_stack``. Positional arguments are its settings
    in their order, as ``emnist-diff plugins show NAME --kind preset`` lists them.

    Raises `UnknownName` and `ConfigError` as a configuration with that preset does, and `ConfigError` for a preset
    that is more than forces on a base.
    """
    registry = installed()
    factory = registry.load(PresetSpec, name)
    fields = [field.name for field in attrs.fields(factory) if field.init] if attrs.has(factory) else []
    if len(arguments) > len(fields):
        raise ConfigError(f"preset {name!r} has {len(fields)} settings ({', '.join(fields)}), got {len(arguments)}")
    for field, value in zip(fields, arguments, strict=False):
        if field in settings:
            raise ConfigError(f"preset {name!r}: {field!r} is said twice")
        settings[field] = value
    _, layer = _layer(registry, {"name": name, "settings": settings})
    if more := layer.keys() - {"base", "forces"}:
        raise ConfigError(f"preset {name!r} says {min(more)} too, which no stack of forces holds — use it as a preset")
    return [_written(force) for force in layer.get("forces", [])]


def _written(component: Mapping[str, Any]) -> dict[str, Any]:
    """A component in the short form, as one would write it."""
    rest = {key: _plain(value) for key, value in component.items() if key != "settings"}
    return {**rest, **_plain(component.get("settings", {}))}


def _plain(value: Any) -> Any:
    """Schedules as data; functions stay what they are."""
    if isinstance(value, Function):
        return value.function
    if isinstance(value, Product):
        return [_plain(factor) for factor in value.factors]
    if isinstance(value, Schedule):
        return to_data(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def __getattr__(name: str) -> Callable[..., list[dict[str, Any]]]:
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}, nor is there a preset of that name")

    def preset(*arguments: Any, **settings: Any) -> list[dict[str, Any]]:
        return stack(name, *arguments, **settings)

    preset.__name__ = preset.__qualname__ = name
    preset.__doc__ = installed().load(PresetSpec, name).__doc__
    return preset


def __dir__() -> list[str]:
    return sorted({*globals(), *(entry.spec.name for entry in installed().of(PresetSpec))})
