"""A mixture of two classes."""

from __future__ import annotations

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import (
    ClassForce,
    Target,
    optional_scalar_field,
    scalar_field,
    target_field,
)


@attrs.frozen
class BlendTwo(ClassForce):
    """w_a F(target) + w_b F(secondary), with F(c) = e_c − e_null.

    A weight that is left out is `strength`. `alpha` says both at once: strength · ((1 − alpha) F(target) + alpha
    F(secondary)).

    Example: ``--force "blend_two:target=3,secondary=8,alpha=0.5,strength=3"``
    """

    target: Target = target_field("first class", default=attrs.NOTHING, aliases=("a", "class_a", "target_class"))
    secondary: Target = target_field("second class", default=attrs.NOTHING, aliases=("b", "class_b"))
    w_a: Schedule | None = optional_scalar_field("weight of the first class; strength when left out")
    w_b: Schedule | None = optional_scalar_field("weight of the second class; strength when left out")
    alpha: Schedule | None = optional_scalar_field(
        "share of the second class, in place of w_a and w_b", aliases=("blend_alpha",)
    )
    strength: Schedule = scalar_field(1.0, "weight of a class that has none of its own")

    def __attrs_post_init__(self) -> None:
        if self.alpha is not None and (self.w_a is not None or self.w_b is not None):
            raise ConfigError("blend_two: use alpha, or w_a and w_b, not both")

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        strength = self.strength(at)
        if self.alpha is not None:
            share = self.alpha(at)
            return [(self.target, strength * (1.0 - share)), (self.secondary, strength * share)]
        w_a, w_b = (strength if weight is None else weight(at) for weight in (self.w_a, self.w_b))
        return [(self.target, w_a), (self.secondary, w_b)]
