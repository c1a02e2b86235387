"""Fields that every class force has in common."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.conditions import Cond


def target_field() -> Any:
    """The class a force is about: a class name, or ``own`` for each sample's own class."""
    return attrs.field(
        default="own",
        validator=attrs.validators.min_len(1),
        metadata={"help": "a class name, or own for each sample's own class", "aliases": ("target_class",)},
    )


def strength_field() -> Any:
    """How strong a force is."""
    return attrs.field(default=1.0, metadata={"help": "multiplies the direction toward the class"})


def null_of(cond: Cond) -> Cond:
    """The null condition of the same network and variant."""
    return attrs.evolve(cond, kind="null", value="")
