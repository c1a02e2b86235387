"""What stands around a run: reviews, which examine it before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import torch

    from emnist_diff.assembly.assemble import Assembly, Parts
    from emnist_diff.assembly.layout import Layout
    from emnist_diff.components import Component
    from emnist_diff.config import RunConfig
    from emnist_diff.engine.state import Engine
    from emnist_diff.errors import UnknownName
    from emnist_diff.evaluators import Prepared
    from emnist_diff.families import Source
    from emnist_diff.plugins import Registry
    from emnist_diff.protocols import Denoiser
    from emnist_diff.schedules import Schedule
    from emnist_diff.timeline import Timeline


@attrs.frozen
class Review:
    """What a `ReviewSpec` names derives from this class: it examines runs before they start. Each method is called of
    every review, and does nothing unless it is overridden. Plugins agree on more methods by classes derived from it."""

    def explain(self, error: UnknownName, registry: Registry, settings: RunConfig) -> UnknownName:
        """The error that a component is unknown, with what helps; or the same."""
        return error

    def require_guide(self, name: str, guide: Source, main: Source) -> None:
        """Raise `ConfigError` for a guide of this name that cannot stand beside the main network."""

    def amend(
        self, kind: str, component: Component, weight: Schedule, timeline: Timeline
    ) -> tuple[Component, Schedule]:
        """A force or drift (`kind`) and its weight as the run is to have and to record them. Raises `ConfigError`."""
        return component, weight

    def output(self, layout: Layout, output: Path) -> Path:
        """The directory that the run writes to.  output: that of its settings, or of the reviews before this one."""
        return output

    def resume(self, layout: Layout, registry: Registry) -> Layout:
        """The run as it is to go on with what an earlier one left in its directory: what its settings leave to choice
        is as it was there."""
        return layout

    def require(self, parts: Parts, denoisers: Mapping[str, Denoiser], device: torch.device) -> None:
        """Raise `ConfigError` for a run that cannot end well, before its networks, loaded already, are set up."""

    def report(self, layout: Layout) -> None:
        """Log what a user should know of a run, before networks are loaded."""

    def report_assembly(self, assembly: Assembly) -> None:
        """Log what a user should know of a run that is ready to start."""

    def require_sinks(self, assembly: Assembly) -> None:
        """Raise `ConfigError` or `OutputError` for a run whose sinks cannot record it, before they are opened."""

    def record(self, parts: Parts, backend: Prepared, registry: Registry) -> Mapping[str, Any]:
        """JSON-ready: settings that decide a run's samples, which the run records. Equal records mean equal samples."""
        return {}

    def environment(
        self, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
    ) -> Mapping[str, Any]:
        """JSON-ready: where a run is made, and with what. A run records it."""
        return {}
