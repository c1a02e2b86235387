"""The class that a rule guides to, as people write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from emnist_diff.conditions import Cond, each, named
from emnist_diff.errors import ConfigError
from emnist_diff.spaces import ConditionSpace

Target = str | tuple[str, ...]
"""A class name, ``own``, or one class name a sample."""


def _class_name(value: object) -> str:
    """A class name; an integer where it is a digit's name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    raise ConfigError(f"target: expected a class name, own, or a list with one class a sample, got {value!r}")


def _target(value: object) -> Target:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value):
        return tuple(_class_name(item) for item in value)
    return _class_name(value)


def target_or_null(value: object) -> Target:
    """A target that may also be null, which JSON, and with it the command line, reads as None."""
    return "null" if value is None else _target(value)


def target_field(help: str = "the class to guide to", aliases: tuple[str, ...] = ("target_class",)) -> Any:
    """A field for a class: each sample's own one unless said otherwise."""
    return attrs.field(
        default="own",
        converter=_target,
        metadata={"help": f"{help}: own, a name, or one name a sample", "aliases": aliases},
    )


def condition(target: Target) -> Cond:
    """The condition that a target means."""
    return named(target) if isinstance(target, str) else each(target)


def check(target: Target, space: ConditionSpace) -> None:
    """Raise `UnknownName` for a class that the model does not have."""
    for name in (target,) if isinstance(target, str) else target:
        if named(name).kind == "class":
            space.resolve(name)
