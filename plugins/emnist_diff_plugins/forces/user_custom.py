"""A force that is a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from torch import Tensor

from emnist_diff.conditions import NULL, OWN, Cond, Predictions
from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import Target, check, condition, target
from emnist_diff_plugins.functions import as_function, require_parameters


def _targets(value: object) -> tuple[Target, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"reads: expected a list of class names, got {shown(value)}")
    return tuple(target(item) for item in value)


def fading_pull(predictions: Predictions, step: ForceStep) -> Tensor:
    """An example of such a function: (1 − frac) F(own), guidance that fades away."""
    return (1.0 - step.at.frac) * predictions.direction(OWN)


@attrs.frozen
class UserCustom:
    """What a function returns: ``function(predictions, step)`` → (B, *shape), or None for nothing.

    The function finds the conditions that `reads` names, and null beside them, in ``predictions``;
    ``predictions.direction(c)`` is F(c), with c from ``emnist_diff.conditions.named``. One that reads nothing costs no
    network row. It draws randomness from ``step.noise()`` and changes nothing that it is given.

    Example: ``--force user_custom:function=emnist_diff_plugins.forces.user_custom:fading_pull``
    """

    function: Callable[..., Any] = attrs.field(
        converter=as_function,
        metadata={"help": "package.module:function, or in Python a callable", "aliases": ("fn", "custom_fn")},
    )
    reads: tuple[Target, ...] = attrs.field(
        default=("own",), converter=_targets, metadata={"help": "classes whose predictions the function reads"}
    )

    def __attrs_post_init__(self) -> None:
        require_parameters(
            self.function,
            ("predictions", "step"),
            "x_t is step.x, t step.at.timestep, t_index step.at.index, total_steps step.at.steps, the prediction of a "
            "class predictions[named('B')], what is kept between steps step.memory",
        )

    def bind(self, space: ConditionSpace) -> UserCustom:
        """Itself. Raises `UnknownName` for a class that the model does not have."""
        check(self.reads, space)
        return self

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (*(condition(item) for item in self.reads), NULL) if self.reads else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        returned = self.function(predictions, step)
        out: Tensor = step.x.new_zeros(step.x.shape) if returned is None else returned
        return out
