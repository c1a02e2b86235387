"""Everything this package raises for a reason that a user can act on.

Each message names the thing, the value and the way out. The command line prints it on one line and
exits with `exit_code`; the codes are documented in `docs/cli.md`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from emnist_diff.shown import shortened, shown


class EmnistDiffError(Exception):
    """Base of all errors of this package; `exit_code` is what the command line returns for it.

    A message is one line: one of several is joined, and one of more than `shown.LONGEST_MESSAGE` characters loses its
    middle, whatever it echoes.
    """

    exit_code = 1

    def __init__(self, message: str = "", *more: object) -> None:
        if isinstance(message, str):
            message = shortened(message if "\n" not in message else " ".join(message.split()))
        super().__init__(message, *more)


@contextmanager
def blame(kind: type[EmnistDiffError], message: Callable[[Exception], str]) -> Iterator[None]:
    """Whatever is raised inside becomes an error of this kind, whose message says where it came from; errors of this
    package pass as they are."""
    try:
        yield
    except EmnistDiffError:
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise kind(message(error)) from error


class ConfigError(EmnistDiffError):
    """A setting is unknown, has the wrong type, or cannot be met (exit code 2)."""

    exit_code = 2


class UnknownName(ConfigError):
    """A name that nothing answers to; carries the nearest known names (exit code 2)."""


class PluginError(EmnistDiffError):
    """A requested component is broken, collides, or is too new for this core (exit code 3)."""

    exit_code = 3


class CheckpointError(EmnistDiffError):
    """A checkpoint is missing, foreign, damaged, or holds something this project will not run (exit code 4)."""

    exit_code = 4


class TrajectoryError(EmnistDiffError):
    """A trajectory file is missing, foreign, damaged, or belongs to another run (exit code 5)."""

    exit_code = 5


class RunFailed(EmnistDiffError):
    """A run ended before its time: a component raised, or a value stopped being finite (exit code 6)."""

    exit_code = 6


class OutputError(EmnistDiffError):
    """The output cannot be written: full disk, missing permission, already there (exit code 7)."""

    exit_code = 7


class DatasetError(EmnistDiffError):
    """A dataset is missing, foreign or damaged (exit code 8)."""

    exit_code = 8


class Interrupted(EmnistDiffError):
    """The run was stopped by a signal after committing what it had (exit code 130)."""

    exit_code = 130


_LONGEST_NAME = 200
"""Of which a near one is looked for: comparing takes time that grows with the length."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """The known names closest to `name`, best first; case is ignored when nothing matches exactly."""
    if len(name) > _LONGEST_NAME:
        return []
    known = list(known)
    hits = difflib.get_close_matches(name, known, n=limit, cutoff=0.6)
    if not hits:
        folded = {k.casefold(): k for k in known}
        hits = [folded[f] for f in difflib.get_close_matches(name.casefold(), folded, n=limit, cutoff=0.6)]
    return hits


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> UnknownName:
    """An `UnknownName` in the house style: ``unknown force 'atract' — did you mean 'attract'? (hint)``."""
    known = sorted(known)
    hits = nearest(name, known)
    if hits:
        hints = " — did you mean " + " or ".join(repr(h) for h in hits) + "?"
    elif known:
        some = ", ".join(repr(k) for k in known[:12]) + (", …" if len(known) > 12 else "")
        hints = f" — known: {some}"
    else:
        hints = ""
    return UnknownName(f"unknown {kind} {shown(name)}{hints}" + (f" ({hint})" if hint else ""))
