"""What stands around a run: readers of what earlier runs left, displays, layers of settings, forms of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import attrs

from emnist_diff.brief import briefly
from emnist_diff.protocols import Sink


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


@attrs.frozen(eq=False)
class Shown:
    """What a display wants to be told while a run goes on.

    on_commit: called after each commit with the samples done and the samples in all; None has the log say so.
    sinks: are given every frame.
    """

    on_commit: Callable[[int, int], None] | None = None
    sinks: tuple[Sink, ...] = ()


@runtime_checkable
class RunReader(Protocol):
    """What a `ReaderSpec` names: knows the files of one kind that runs leave. Damaged ones are passed over."""

    def runs(self, folder: Path, rank: int, world_size: int) -> Iterable[EarlierRun]:
        """What the worker of this rank left in a run's directory, in the order of the names; a lone run has rank 0 of
        1, and may have any file of the kind."""

    def read(self, path: Path) -> EarlierRun | None:
        """What a file says; None for one of another kind, and for a damaged one."""


@runtime_checkable
class Display(Protocol):
    """What a `DisplaySpec` names: shows how far a run is."""

    def refusal(self) -> str | None:
        """Why it cannot be shown here, on this terminal; or None."""

    def log(self) -> Callable[..., Any] | None:
        """A structlog processor that sees each event before it is written, and may keep it by `structlog.DropEvent`;
        None where the log goes on as it is."""

    def show(self, total: int) -> AbstractContextManager[Shown]:
        """Show a run of `total` samples for as long as the context lasts."""


@runtime_checkable
class Layer(Protocol):
    """What a `LayerSpec` names: settings from elsewhere than the command line and its file."""

    def settings(self) -> Mapping[str, Any]:
        """Settings of a `config.RunConfig`, checked. Raises `ConfigError` for what is wrong with them."""


@runtime_checkable
class Form(Protocol):
    """What a `FormSpec` names: a form of configuration file beside the plain table of settings."""

    def recognises(self, data: Mapping[str, Any]) -> bool:
        """Whether the data of a file are of this form."""

    def layer(self, data: Mapping[str, Any], registry: Any, checkpoint: str | None) -> Mapping[str, Any]:
        """The settings that they mean.  checkpoint: one that stands above the file's, or None.

        Raises `ConfigError` for what does not hold.
        """
