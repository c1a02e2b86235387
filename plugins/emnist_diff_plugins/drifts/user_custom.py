"""A drift that is a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from torch import Tensor

from emnist_diff.steps import DriftStep
from emnist_diff_plugins.functions import as_function, require_parameters


def fading_shake(x: Tensor, step: DriftStep) -> Tensor:
    """An example of such a function: x + 0.05 (1 − frac) N, noise that fades away."""
    return x + 0.05 * (1.0 - step.at.frac) * step.noise()


@attrs.frozen
class UserCustom:
    """What a function returns: ``function(x, step)`` → (B, *shape), or None to leave x as it is.

    The function draws randomness from ``step.noise()`` and changes nothing that it is given.

    Example: ``--drift user_custom:function=emnist_diff_plugins.drifts.user_custom:fading_shake``
    """

    function: Callable[..., Any] = attrs.field(
        converter=as_function,
        metadata={"help": "package.module:function, or in Python a callable", "aliases": ("fn", "custom_fn")},
    )

    def __attrs_post_init__(self) -> None:
        require_parameters(
            self.function,
            ("x", "step"),
            "t is step.at.timestep, t_index step.at.index, total_steps step.at.steps, what is kept between steps "
            "step.memory",
        )

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        returned = self.function(x, step)
        out: Tensor = x if returned is None else returned
        return out
