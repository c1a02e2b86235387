"""What is made of a configuration before the weights of its networks are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch

from emnist_diff.assembly.layout import Layout, bound_scheduler, lay_out
from emnist_diff.assembly.sources import Found, found, found_guides
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
    denoiser: Found
    guides: Mapping[str, Found]
    layout: Layout

    @classmethod
    def of(cls, registry: Registry, settings: RunConfig) -> Parts:
        """Raises as `assemble.assemble`."""
        scheduler = make(registry, SchedulerSpec, settings.scheduler)
        forces = [make(registry, ForceSpec, c) for c in settings.forces]
        drifts = [make(registry, DriftSpec, c) for c in settings.drifts]
        denoiser = found(registry, settings)
        source = denoiser.source
        guides = found_guides(registry, settings, source)
        bound = bound_scheduler(scheduler, source.process, source.prediction_type)
        spaces = {name: guide.source.conditions for name, guide in guides.items()}
        layout = lay_out(settings, source.conditions, bound, forces, drifts, spaces, scheduler.label("scheduler"))
        return cls(scheduler, forces, drifts, denoiser, guides, layout)

    def load(self, device: torch.device) -> dict[str, Denoiser]:
        """The networks on a device, by name; ``""`` is the main one. Raises as `Found.load`, and `ConfigError` for a
        variant that the main one does not declare."""
        main = self.denoiser.load(str(device))
        self.layout.require_variants({"": main}, self.denoiser.component.name)  # before others take their time to load
        return {"": main} | {name: guide.load(str(device)) for name, guide in self.guides.items()}

    @property
    def components(self) -> list[Component]:
        """The main denoiser's, the scheduler, forces and drifts."""
        return [self.denoiser.component, self.scheduler, *self.layout.forces, *self.drifts]
