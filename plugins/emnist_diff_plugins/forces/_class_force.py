"""What every force made of class directions shares: F(c) = e_c − e_null, weighted and summed.

A force of this kind says only which classes weigh how much at a step. A class of weight zero is not evaluated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from torch import Tensor

from emnist_diff.conditions import NULL, Cond, Predictions, each, named
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import schedule
from emnist_diff.shown import shown
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction

EITHER = "weighted_multi for a weight that changes its sign"
TOWARD = Direction("pulls", f"repel_class to push away, or {EITHER}")
AWAY = Direction("pushes away", f"attract_class to pull, or {EITHER}", repeated=True)

Target = str | tuple[str, ...]
"""A class name, ``own``, or one class name a sample."""


def class_name(value: object) -> str:
    """A class name as people write it: text, or an integer where it is a digit's name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value:
        return value
    raise ConfigError(f"expected a class name, own, or a list with one class a sample, got {shown(value)}")


def target(value: object) -> Target:
    """A target as people write it: a class, or a list with one for each sample."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value):
        return tuple(class_name(item) for item in value)
    return class_name(value)


def target_field(help: str = "", default: Any = "own", aliases: tuple[str, ...] = ()) -> Any:
    """The class a force is about."""
    text = help or "a class name, own for each sample's own class, or a list with one class a sample"
    return attrs.field(default=default, converter=target, metadata={"help": text, "aliases": aliases, "target": True})


def scalar_field(default: Any, help: str, aliases: tuple[str, ...] = ()) -> Any:
    """A number, or a schedule of them over the run."""
    return attrs.field(default=default, converter=schedule, metadata={"help": help, "aliases": aliases})


def optional_scalar_field(help: str, aliases: tuple[str, ...] = ()) -> Any:
    """The same, or None."""
    return attrs.field(
        default=None, converter=attrs.converters.optional(schedule), metadata={"help": help, "aliases": aliases}
    )


def condition(target: Target) -> Cond:
    """The condition that a target means."""
    return named(target) if isinstance(target, str) else each(target)


def check(targets: Iterable[Target], space: ConditionSpace) -> None:
    """Raise `UnknownName` for a class that the model does not have, whether or not a step ever reads it."""
    for target in targets:
        for name in (target,) if isinstance(target, str) else target:
            if named(name).kind == "class":
                space.resolve(name)


class ClassForce:
    """A weighted sum of class directions."""

    def all_targets(self) -> Iterable[Target]:
        """Every target that a step may read; those in fields made by `target_field` unless a force says more."""
        settings: Any = type(self)  # each force is an attrs class
        return [getattr(self, f.name) for f in attrs.fields(settings) if f.metadata.get("target")]

    def bind(self, space: ConditionSpace) -> Any:
        """The force for a model with the classes of `space`. Raises `UnknownName` for a class that is not there."""
        check(self.all_targets(), space)
        return self

    def weights(self, at: StepInfo) -> Iterable[tuple[Target, float]]:
        """Targets and their weights at a step; a target may come more than once."""
        raise NotImplementedError

    def _active(self, at: StepInfo) -> list[tuple[Cond, float]]:
        return [(condition(target), weight) for target, weight in self.weights(at) if weight != 0]

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        net: dict[Cond, float] = defaultdict(float)
        for cond, weight in self._active(at):
            net[cond] += weight
        return not any(net.values())

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        active = self._active(at)
        return (*(cond for cond, _ in active), NULL) if active else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        total = step.x.new_zeros(step.x.shape)
        for cond, weight in self._active(step.at):
            total = total + weight * predictions.direction(cond)
        return total
