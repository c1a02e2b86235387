"""The commands of the core, registered like anybody's."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import CommandSpec


@hookimpl
def emnist_diff_commands() -> Iterable[CommandSpec]:
    yield CommandSpec(
        name="run",
        factory="emnist_diff.cli.run:app",
        summary="Generate samples and record their trajectories",
        section="Generate",
        place=-1,
    )
    yield CommandSpec(
        name="plugins",
        factory="emnist_diff.cli.plugins:app",
        summary="List, show and check plugins",
        section="Choose",
        logs=False,
    )
