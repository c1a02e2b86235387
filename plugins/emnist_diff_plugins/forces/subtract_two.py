"""One class minus another."""

from __future__ import annotations

from typing import ClassVar

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction, Directions
from emnist_diff_plugins.forces._class_force import EITHER, ClassForce, Target, scalar_field, target_field


def _pairs(a: Target, b: Target) -> list[tuple[str, str]]:
    """The two classes of each sample, or of all."""
    many = max(1 if isinstance(target, str) else len(target) for target in (a, b))
    one, other = (((target,) * many) if isinstance(target, str) else target for target in (a, b))
    return list(zip(one, other, strict=False))


@attrs.frozen
class SubtractTwo(ClassForce):
    """w_pos F(target) − w_neg F(secondary), with F(c) = e_c − e_null.

    `w_pos` and the weight are at least 0; a negative `w_neg` is read as its magnitude, for it says the minus again.

    Example: ``--force "subtract_two:target=E,secondary=F,w_pos=3,w_neg=2"``
    """

    target: Target = target_field(
        "class to move toward", default=attrs.NOTHING, aliases=("a", "positive", "pos_class", "target_class")
    )
    secondary: Target = target_field(
        "class to move away from", default=attrs.NOTHING, aliases=("b", "negative", "neg_class")
    )
    w_pos: Schedule = scalar_field(1.0, "weight of the first, at least 0", aliases=("strength",))
    w_neg: Schedule = scalar_field(1.0, "weight of the second, which is subtracted", aliases=("neg_strength",))

    directions: ClassVar[Directions] = {
        "weight": Direction("goes from the second class to the first", f"the two classes exchanged, or {EITHER}"),
        "w_pos": Direction("moves toward the first class", f"the two classes exchanged, or {EITHER}"),
        "w_neg": Direction("moves away from the second class", f"blend_two for both, or {EITHER}", repeated=True),
    }

    def bind(self, space: ConditionSpace) -> SubtractTwo:
        """Itself. Raises `ConfigError` for a letter and its twin where the dataset made one class of both, and
        `UnknownName` as `ClassForce.bind` does."""
        super().bind(space)
        for a, b in _pairs(self.target, self.secondary):
            if a != b and space.merged.get(a, a) == space.merged.get(b, b):
                raise ConfigError(
                    f"subtract_two: {a!r} and {b!r} are one class in this checkpoint, whose dataset merges their "
                    "shapes — nothing would be left of the difference; name two classes that differ"
                )
        return self

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(self.target, self.w_pos(at)), (self.secondary, -self.w_neg(at))]
