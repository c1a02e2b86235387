"""What is made of a configuration, before the weights of its networks are read and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch

from emnist_diff.assembly.layout import Layout, bound_scheduler, lay_out
from emnist_diff.assembly.sources import Source, guide_sources, load_guides
from emnist_diff.components import Component, make
from emnist_diff.config import RunConfig
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff.records import DriftSpec, ForceSpec, SchedulerSpec


@attrs.frozen(eq=False)
class Parts:
    """What is made of a configuration before the weights of its network are read."""

    scheduler: Component
    forces: Sequence[Component]
    drifts: Sequence[Component]
    source: Source
    guides: Mapping[str, Source]
    layout: Layout

    @classmethod
    def of(cls, registry: Registry, settings: RunConfig) -> Parts:
        """Raises as `assemble.assemble`."""
        scheduler = make(registry, SchedulerSpec, settings.scheduler)
        forces = [make(registry, ForceSpec, c) for c in settings.forces]
        drifts = [make(registry, DriftSpec, c) for c in settings.drifts]
        source = Source.of(registry, settings)
        further = guide_sources(settings, source.conditions, source.schedule)
        bound = bound_scheduler(scheduler, source.schedule, source.prediction)
        spaces = {name: guide.conditions for name, guide in further.items()}
        laid = lay_out(settings, source.conditions, bound, forces, drifts, spaces, scheduler.label("scheduler"))
        return cls(scheduler, forces, drifts, source, further, laid)


@attrs.frozen(eq=False)
class Networks:
    """The networks of a run, loaded.  made, denoiser: the main one.  guides: by name."""

    made: Component
    denoiser: Denoiser
    guides: Mapping[str, tuple[Component, Denoiser]]

    @classmethod
    def of(cls, registry: Registry, parts: Parts, device: torch.device) -> Networks:
        """Raises the errors of `Source.load` and `guides.require_shape`."""
        made, denoiser = parts.source.load(registry, str(device))
        parts.layout.require_variants({"": denoiser}, made.name)  # before others take their time to load
        return cls(made, denoiser, load_guides(registry, parts.guides, denoiser, device))

    @property
    def denoisers(self) -> dict[str, Denoiser]:
        """All, by name; ``""`` is the main one."""
        return {"": self.denoiser, **{name: denoiser for name, (_, denoiser) in self.guides.items()}}
