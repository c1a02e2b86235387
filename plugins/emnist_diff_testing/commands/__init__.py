"""``emnist-diff plugins check`` and ``plugins new``."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff_trajectory.contract import CommandSpec


@hookimpl
def emnist_diff_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        name="check",
        factory=f"{__name__}.check:check",
        summary="Check a distribution against the rules of its kinds",
        group="plugins",
        place=2,
    )
    yield CommandSpec(
        name="new",
        factory=f"{__name__}.new:new",
        summary="Write a new plugin package",
        group="plugins",
        place=3,
        logs=False,
    )
