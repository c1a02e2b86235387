"""Anything but a class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import attrs
from attrs import validators as v
from emnist_diff.conditions import NULL, Cond, Predictions, named
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction, Directions
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field

_AWAY = Direction("leaves the class out", "attract_class to pull toward it", repeated=True)


@attrs.frozen
class Not:
    """−strength · (e_c − e_null): the score of p(x) / (p(x | c) / p(x))^strength, beside what the base is.

    Negation (Liu et al., 2022, arXiv:2206.01714, equation 13; Du et al., 2023, arXiv:2302.11552, section 4, whose
    exponent is the strength). Beside a class that is wanted, as on base ``cfg`` or with ``and``: "A and not B". Alone
    it only leaves one class out. It costs one row a sample.

    Example: ``--character O --force "not:target=Q,strength=0.5"``
    """

    target: str = attrs.field(
        validator=v.min_len(1), metadata={"help": "a class name", "aliases": ("target_class", "negative")}
    )
    strength: Schedule = scalar_field(1.0, "the exponent; a negative one is read as its magnitude")

    directions: ClassVar[Directions] = {"weight": _AWAY, "strength": _AWAY}

    def __attrs_post_init__(self) -> None:
        if self.target == "null":
            raise ConfigError("not: target 'null' is no class")

    def bind(self, space: ConditionSpace) -> Not:
        """The force for a model with these classes. Raises `UnknownName` for a class that is not there."""
        if self.target != "own":
            space.resolve(self.target)
        return self

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.strength(at) == 0

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (named(self.target), NULL) if self.strength(at) != 0 else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        strength = self.strength(step.at)
        if strength == 0:
            return step.x.new_zeros(step.x.shape)
        return -strength * predictions.direction(named(self.target))
