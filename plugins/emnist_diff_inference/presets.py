"""Every installed preset as a function that returns its stack of forces::

    from emnist_diff_inference.presets import subtract

    ForceConfig(base="uncond", force_stack=subtract("k", "K", w_pos=3.0, w_neg=2.0))

A stack alone is added to the base that the configuration says. ``ForceConfig(preset="subtract", preset_args={…})`` is
the preset as a whole, with the base that its formula starts from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Product, Schedule
from emnist_diff_plugins.contract import PresetSpec
from emnist_diff_plugins.functions import Function
from emnist_diff_plugins.reviews.presets import layer_of


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
            raise ConfigError(f"preset {name!r}: {field!r} is set twice")
        settings[field] = value
    _, layer = layer_of(registry, {"name": name, "settings": settings})
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
        return value.to_data()
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
