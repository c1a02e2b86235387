"""What logical compositions have in common: classes, each with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from emnist_diff.errors import ConfigError
from emnist_diff.spaces import ConditionSpace
from emnist_diff_plugins.capabilities import Direction

TOWARD = Direction("moves toward its classes", "not for each class that is to be left out")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f"targets: expected a list of class names, got {value!r}")
    names = tuple(str(name) if isinstance(name, int) and not isinstance(name, bool) else name for name in value)
    if not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"targets: expected a list of class names, got {value!r}")
    if "null" in names:
        raise ConfigError("targets: null is no class")
    return names


def _weights(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"weights: expected a list of numbers, got {value!r}")
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
        raise ConfigError(f"weights: expected a list of numbers, got {value!r}")
    return tuple(float(one) for one in value)


def targets_field() -> Any:
    """The classes that are composed."""
    return attrs.field(
        converter=_names,
        metadata={"help": "class names, of which own is each sample's own class", "aliases": ("classes",)},
    )


def weights_field(help: str, least: float | None = None) -> Any:
    """A number for each class.  least: below which numbers are refused."""

    def at_least(instance: Any, attribute: Any, value: tuple[float, ...] | None) -> None:
        if least is not None and (less := [weight for weight in value or () if not weight >= least]):
            raise ConfigError(f"weights: {less[0]:g} is less than {least:g}")

    return attrs.field(default=None, converter=_weights, validator=at_least, metadata={"help": help})


class Composition:
    """Classes, and a weight for each, 1 when left out."""

    targets: tuple[str, ...]
    weights: tuple[float, ...] | None

    def __attrs_post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.targets):
            raise ConfigError(f"weights: {len(self.weights)} numbers for {len(self.targets)} targets")

    @property
    def all_weights(self) -> tuple[float, ...]:
        """A number for each class."""
        return (1.0,) * len(self.targets) if self.weights is None else self.weights

    def bind(self, space: ConditionSpace) -> Any:
        """The force for a model with these classes. Raises `UnknownName` for a class that is not there."""
        for name in self.targets:
            if name != "own":
                space.resolve(name)
        return self
