"""The commands that read and write trajectory files, one thin file each."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff_trajectory.contract import CommandSpec

_COMMANDS = (
    # name, factory, summary
    ("verify", "verify:verify", "Check a trajectory file for everything a reader relies on"),
    ("diff", "diff:diff", "Compare two trajectory files: same or not, and where first"),
    ("merge", "merge:merge", "Join the files that the workers of a run left"),
    ("pack", "pack:pack", "Compress a finished trajectory file without loss"),
    ("select", "select:select", "Copy some samples of a trajectory file into another"),
    ("split", "select:split", "Split a trajectory file into one a class or a sample"),
)


@hookimpl
def emnist_diff_commands() -> Iterable[CommandSpec]:
    for place, (name, factory, summary) in enumerate(_COMMANDS):
        yield CommandSpec(
            name=name, factory=f"{__name__}.{factory}", summary=summary, section="Trajectory files", place=place
        )
