"""Kinds of components that this package has some of or uses, and the core knows nothing of: commands, readers of what
runs left in their directories, and widgets of notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import attrs

from emnist_diff.brief import briefly
from emnist_diff.records import Spec, one_line

if TYPE_CHECKING:
    from emnist_diff_trajectory.reader import Trajectory


@attrs.frozen(kw_only=True)
class ReaderSpec(Spec):
    """What reads the records that runs leave in their directories. The factory makes a `RunReader`.

    place: the reader with the smallest one is asked first.
    """

    kind: ClassVar[str] = "reader"
    place: int = 100


@briefly
@attrs.frozen(eq=False)
class EarlierRun:
    """What a file says of the run that left it.

    path: the file.  config: as recorded, or the part of it that the file holds.  environment: where it was made.
    samples: how many the file has room for; None where it holds none.
    joined: whether it was made of several workers' files.
    """

    path: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any] = attrs.field(factory=dict)
    samples: int | None = None
    joined: bool = False


@runtime_checkable
class RunReader(Protocol):
    """What a `ReaderSpec` names: knows the files of one kind that runs leave. Damaged ones are passed over."""

    def runs(self, folder: Path, rank: int, world_size: int) -> Iterable[EarlierRun]:
        """What the worker of this rank left in a run's directory, in the order of the names; a lone run has rank 0 of
        1, and may have any file of the kind."""

    def read(self, path: Path) -> EarlierRun | None:
        """What a file says; None for one of another kind, and for a damaged one."""


@attrs.frozen(kw_only=True)
class WidgetSpec(Spec):
    """What shows a trajectory in a notebook. The factory makes a `TrajectoryWidgets`; the default one is used."""

    kind: ClassVar[str] = "widget"


@runtime_checkable
class TrajectoryWidgets(Protocol):
    """What a `WidgetSpec` names."""

    def widget(self, trajectory: Trajectory) -> Any:
        """A widget of ipywidgets that shows an open trajectory, the same one whenever it is shown again.

        Raises an `EmnistDiffError` where there can be none, such as where a library that it needs is not installed.
        """


@attrs.frozen(kw_only=True)
class CommandSpec(Spec):
    """A subcommand of ``emnist-diff``. The factory is a Typer app, mounted under `name`, or a function with a docstring
    that Typer makes a command of.

    group: the command that it is a part of (``plugins`` of ``plugins check``), or "".
    section: the heading under which the help page lists it; "" lists it under the plugins' own.
    place: where in its section, or group, it stands; the smaller first, equal ones by name.
    logs: whether it has the options of the log, ``--verbose``, ``--quiet`` and ``--log-format``.
    """

    kind: ClassVar[str] = "command"
    group: str = attrs.field(default="", validator=one_line)
    section: str = attrs.field(default="", validator=one_line)
    place: int = 100
    logs: bool = True
