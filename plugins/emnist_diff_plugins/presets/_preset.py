"""What the presets share: fields, and the configuration that a stack of forces makes."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff_plugins.forces._class_force import optional_scalar_field, scalar_field, target, target_field

__all__ = ["first_class", "optional_scalar_field", "scalar_field", "second_class", "stack", "target_field"]


def stack(*forces: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Forces on base ``uncond``; settings that are None are left out."""
    return {
        "base": "uncond",
        "forces": [
            {"name": name, "settings": {key: value for key, value in settings.items() if value is not None}}
            for name, settings in forces
        ],
    }


def first_class(default: Any = attrs.NOTHING) -> Any:
    """The first of two classes."""
    return _one_of_two("first class", default, ("target", "class_a", "target_class"))


def second_class(default: Any = attrs.NOTHING) -> Any:
    """The second of two classes."""
    return _one_of_two("second class", default, ("secondary", "class_b"))


def _one_of_two(help: str, default: Any, aliases: tuple[str, ...]) -> Any:
    converter = attrs.converters.optional(target) if default is None else target
    return attrs.field(default=default, converter=converter, metadata={"help": help, "aliases": aliases})
