"""One class after another, round and round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.shown import shown
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forces._class_force import ClassForce, Target, check, class_name, scalar_field


def _names(value: object) -> tuple[str, ...] | None:
    if value is None or value == "all":
        return None
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f"class_list: expected a list of class names, or all, got {shown(value)}")
    return tuple(class_name(name) for name in value)


@attrs.frozen
class CycleClasses(ClassForce):
    """strength · F(list[(step // period) mod length]), with F(c) = e_c − e_null.

    Example: ``--force 'cycle_classes:class_list=["A","B","C"],period=5,strength=2'``
    """

    class_list: tuple[str, ...] | Literal["all"] | None = attrs.field(
        default=None,
        converter=_names,
        metadata={
            "help": "class names in order; every class of the model when left out, or by all",
            "aliases": ("classes",),
        },
    )
    period: int = attrs.field(default=1, validator=v.ge(1), metadata={"help": "steps that each class is held for"})
    strength: Schedule = scalar_field(1.0, "how strongly to pull")

    def bind(self, space: ConditionSpace) -> CycleClasses:
        """With the model's own classes where none were named."""
        check([self.class_list or ()], space)
        return self if self.class_list is not None else attrs.evolve(self, class_list=space.classes)

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        if self.class_list is None:
            raise ConfigError("cycle_classes does not know the model's classes yet — name a class_list")
        name = self.class_list[at.index // self.period % len(self.class_list)]
        return [(name, self.strength(at))]
