"""Classes that pull at once."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff_plugins.forces._class_force import Target
from emnist_diff_plugins.presets._preset import first_class, scalar_field, second_class, stack


@attrs.frozen
class Competitive:
    """e_null + strength · F(a) + strength · F(b), as two forces, so that the ledger shows each; or as many as `classes`
    names.

    Example: ``--preset competitive --preset-args '{"a": "3", "b": "8", "strength": 2}'``
    """

    a: Target | None = first_class(None)
    b: Target | None = second_class(None)
    strength: Schedule = scalar_field(1.0, "how strongly each pulls", aliases=("weight",))
    classes: tuple[str, ...] | None = attrs.field(
        default=None, metadata={"help": "any number of classes, in place of a and b", "aliases": ("class_list",)}
    )

    def __attrs_post_init__(self) -> None:
        if (self.a is None, self.b is None) != (bool(self.classes),) * 2:
            raise ConfigError("competitive: use a and b, or classes")

    def expand(self) -> dict[str, Any]:
        rivals = self.classes or (self.a, self.b)
        return stack(*(("attract_class", {"target": rival, "strength": self.strength}) for rival in rivals))
