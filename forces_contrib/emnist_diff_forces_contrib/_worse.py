"""What guidance by a worse network has in common: strength · (e_c − e'_c), the same condition asked of two networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from emnist_diff.conditions import Cond, Predictions, named
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction
from torch import Tensor

AWAY = Direction("moves away from the worse network", "a number of at least 0")


def _name(value: object) -> object:
    return "null" if value is None else value  # as JSON, and with it the command line, reads null


def target_field() -> Any:
    """The condition that both networks are asked about."""
    return attrs.field(
        default="own",
        converter=_name,
        metadata={"help": "a class name, own for each sample's own class, or null", "aliases": ("target_class",)},
    )


class WorseNetwork:
    """A force that moves away from what another network, or another way to ask the same one, says of one condition."""

    target: str | None

    @property
    def cond(self) -> Cond:
        """What both networks are asked about."""
        assert self.target is not None  # converted
        return named(self.target)

    def worse(self, cond: Cond) -> Cond:
        """The same condition, of the network that is moved away from."""
        raise NotImplementedError

    def strength_at(self, at: StepInfo) -> float:
        """What the difference is multiplied by."""
        raise NotImplementedError

    def bind(self, space: ConditionSpace) -> Any:
        """The force for a model with these classes. Raises `UnknownName` for a class that is not there."""
        if self.cond.kind == "class":
            space.resolve(self.cond.value)
        return self

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.strength_at(at) == 0

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (self.cond, self.worse(self.cond)) if self.strength_at(at) != 0 else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        strength = self.strength_at(step.at)
        if strength == 0:
            return step.x.new_zeros(step.x.shape)
        return strength * (predictions[self.cond] - predictions[self.worse(self.cond)])
