"""Rules in place of the base: a force returns what takes the base to the rule's own prediction.

    contribution = rule(predictions) − base,    so that    base + contribution = rule(predictions)

At weight 1 the rule replaces the base, whichever that is: its kind and the run's guidance scale no longer matter, and
other forces add to the rule's prediction as they would to the base. At weight w the two are mixed, 1 − w to w; two
rules whose weights add up to 1 are mixed with each other. Base ``cond`` is the cheapest to replace: the base ``cfg``
asks for the null class also where the rule does not need it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import attrs
from emnist_diff.conditions import NULL, Cond, Predictions
from emnist_diff.schedules import schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._targets import Target, check, condition, target_field

_Self = TypeVar("_Self", bound="Guidance")


def scale_field(default: float = 3.0, help: str = "guidance scale: 0 ignores the class, 1 is the plain model") -> Any:
    """A guidance scale s, counted as the run's own is: e_null + s (e_own − e_null); a number or a schedule."""
    return attrs.field(default=default, converter=schedule, metadata={"help": help, "aliases": ("guidance_scale",)})


@attrs.frozen
class Guidance:
    """A rule that says the whole prediction from that of the class and that of no class."""

    target: Target = target_field()

    @property
    def own(self) -> Cond:
        """The condition that is guided to."""
        return condition(self.target)

    def bind(self: _Self, space: ConditionSpace) -> _Self:
        """Itself, for a model with the classes of `space`. Raises `UnknownName` for a class that is not there."""
        check(self.target, space)
        return self

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (NULL, self.own)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        """The prediction of the rule, (B, *shape)."""
        raise NotImplementedError

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        return self.guided(predictions, step) - step.base


class ScaledGuidance(Guidance):
    """Classifier-free guidance whose scale is another at each step. Conditions of factor 0 are not read."""

    def scale_at(self, at: StepInfo) -> float:
        """The guidance scale of a step."""
        raise NotImplementedError

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        scale = self.scale_at(at)
        return (self.own,) if scale == 1 else (NULL,) if scale == 0 else (NULL, self.own)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        scale = self.scale_at(step.at)
        if scale in (0, 1):
            return predictions[self.own if scale == 1 else NULL]
        return predictions[NULL] + scale * (predictions[self.own] - predictions[NULL])
