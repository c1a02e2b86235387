"""What stands around a run: readers of earlier runs, displays, layers of settings, forms of files, reviews."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from emnist_diff.brief import briefly
from emnist_diff.protocols import Sink

if TYPE_CHECKING:
    import torch

    from emnist_diff.assembly.assemble import Assembly, Parts
    from emnist_diff.assembly.layout import Layout
    from emnist_diff.assembly.sources import Found
    from emnist_diff.components import Component
    from emnist_diff.config import RunConfig
    from emnist_diff.engine.state import Engine
    from emnist_diff.errors import UnknownName
    from emnist_diff.evaluators import Prepared
    from emnist_diff.families import Source
    from emnist_diff.plugins import Registry
    from emnist_diff.schedules import Schedule
    from emnist_diff.timeline import Timeline


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
    """What a `FormSpec` names: reads configurations in one form. The default one is asked last."""

    def layer(self, path: Path, registry: Any, checkpoint: str | None) -> Mapping[str, Any] | None:
        """The settings that a file means; None for one of another form.

        checkpoint: one that stands above the file's, or None.

        Raises `ConfigError` for what does not hold.
        """


@attrs.frozen
class Review:
    """What a `ReviewSpec` names derives from this class: it examines runs before they start. Each method is called of
    every review, and does nothing unless it is overridden."""

    def expand(self, settings: Mapping[str, Any], registry: Registry) -> Mapping[str, Any]:
        """The settings of a run, in the form of `config.normalised`, with others in place of those that stand for them,
        as a preset does. Raises `ConfigError` for settings that contradict each other."""
        return settings

    def explain(self, error: UnknownName, registry: Registry, settings: RunConfig) -> UnknownName:
        """The error that a component is unknown, with what helps; or the same."""
        return error

    def require_record(
        self, record: Mapping[str, Any], registry: Registry, settings: RunConfig, denoiser: Found
    ) -> None:
        """Raise `CheckpointError` or `ConfigError` for a recorded configuration whose weights and files, which `record`
        names by their hashes (`assembly.layers.RECORDED`, None where it is silent), are others than those of now."""

    def require_guide(self, name: str, guide: Source, main: Source) -> None:
        """Raise `ConfigError` for a guide of this name that cannot stand beside the main network."""

    def amend(
        self, kind: str, component: Component, weight: Schedule, timeline: Timeline
    ) -> tuple[Component, Schedule]:
        """A force or drift (`kind`) and its weight as the run is to have and to record them. Raises `ConfigError`."""
        return component, weight

    def resume(self, layout: Layout, registry: Registry) -> Layout:
        """The run as it is to go on with what an earlier one left in its directory: what its settings leave to choice
        is as it was there."""
        return layout

    def require(self, layout: Layout, shape: Sequence[int], device: torch.device) -> None:
        """Raise `ConfigError` for a run that cannot end well, before its networks are set up.  shape: of one state."""

    def report(self, layout: Layout) -> None:
        """Log what a user should know of a run, before networks are loaded."""

    def report_assembly(self, assembly: Assembly) -> None:
        """Log what a user should know of a run that is ready to start."""

    def require_sinks(self, assembly: Assembly) -> None:
        """Raise `ConfigError` or `OutputError` for a run whose sinks cannot record it, before they are opened."""

    def files(self, parts: Mapping[str, Component | Schedule]) -> Mapping[str, Any]:
        """JSON-ready: the files that decide what components and schedules do, by their place in the configuration
        (``forces[0]``). A run records them; runs with other ones are other runs."""
        return {}

    def environment(
        self, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
    ) -> Mapping[str, Any]:
        """JSON-ready: where a run is made, and with what. A run records it."""
        return {}
