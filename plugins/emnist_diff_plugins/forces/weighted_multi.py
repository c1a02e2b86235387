"""A weighted sum of many classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule, schedule
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import ClassForce, Target, class_name

Weights = Mapping[str, Schedule] | tuple[Schedule, ...]


def _weights(value: object) -> Weights:
    if isinstance(value, Mapping) and value:
        return {str(name): schedule(weight) for name, weight in value.items()}
    if isinstance(value, list | tuple) and value:
        return tuple(schedule(weight) for weight in value)
    raise ConfigError(
        f'weights: expected a table of classes and weights, e.g. {{"A": 1, "B": 0.5}}, got {shown(value)}'
    )


def weights_field() -> Any:
    """How much each class weighs."""
    text = "class name → weight; or weights in the order of targets"
    return attrs.field(converter=_weights, metadata={"help": text, "aliases": ("weights", "class_weights")})


def targets_field() -> Any:
    """The classes, where the weights are a list."""
    return attrs.field(
        default=None,
        converter=attrs.converters.optional(lambda names: tuple(class_name(name) for name in names)),
        metadata={"help": "class names, where the weights are a list"},
    )


@attrs.frozen
class WeightedMulti(ClassForce):
    """Σ_c w_c F(c), with F(c) = e_c − e_null. A class of weight zero is not evaluated.

    Example: ``--force 'weighted_multi:weights={"A": 1, "B": 0.5, "C": -1}'``
    """

    classes: Weights = weights_field()
    targets: tuple[str, ...] | None = targets_field()

    def __attrs_post_init__(self) -> None:
        listed = not isinstance(self.classes, Mapping)
        if listed != (self.targets is not None) or (
            self.targets is not None and len(self.targets) != len(self.classes)
        ):
            raise ConfigError(
                "weighted_multi: use weights as a table of classes, or a list of weights and as many targets"
            )

    def all_targets(self) -> list[Target]:
        return [name for name, _ in self._pairs()]

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(name, weight(at)) for name, weight in self._pairs()]

    def _pairs(self) -> list[tuple[str, Schedule]]:
        if isinstance(self.classes, Mapping):
            return list(self.classes.items())
        return list(zip(self.targets or (), self.classes, strict=True))
