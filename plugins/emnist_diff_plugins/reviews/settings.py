"""What a run records of its settings: that which decides its samples, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from emnist_diff.assembly.assemble import Parts
from emnist_diff.assembly.reviews import reviews_of
from emnist_diff.components import Component
from emnist_diff.config import RunConfig
from emnist_diff.engine.state import Engine
from emnist_diff.evaluators import Prepared
from emnist_diff.plugins import Registry
from emnist_diff.schedules import Schedule
from emnist_diff.surroundings import Review
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.capabilities import WEIGHTS
from emnist_diff_plugins.contract import SettingsReview


@attrs.frozen
class DecidingSettings(Review):
    """Records the settings that decide a run's samples, and the files that these name."""

    def record(self, parts: Parts, backend: Prepared, registry: Registry) -> Mapping[str, Any]:
        """`Review.record`; equal records mean equal samples."""
        layout, network = parts.layout, parts.networks[""]
        settings = layout.settings
        data = runconfig.to_dict(settings)
        for key in runconfig.UNRELATED_TO_SAMPLES:
            del data[key]
        for recorded, component in zip([*data["forces"], *data["drifts"]], layout.components.values(), strict=True):
            recorded |= {"name": component.name, "settings": network.source.conditions.spelled(component.settings)}
        data |= {"character": list(layout.characters), "total_videos": len(layout.labels), "per_character": None}
        data["denoiser"] = {"name": network.component.name, "settings": _without_weights(network.component)}
        data["scheduler"] = {"name": parts.scheduler.name, "settings": parts.scheduler.settings}
        data["checkpoint_sha256"] = network.source.identity or None
        if guides := {name: guide.source.identity for name, guide in parts.networks.items() if name}:
            data["guide_sha256"] = guides
        data["micro_batch"] = layout.plan.micro_batch
        data["backend"] = {"name": backend.component.name, "settings": backend.component.settings}
        data["precision"] = backend.precision
        return data | files_of(registry, settings, parts.components)

    def environment(
        self, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
    ) -> Mapping[str, Any]:
        """`Review.environment`: which of several workers makes the run, and that classes decide nothing."""
        settings = parts.layout.settings
        data: dict[str, Any] = {} if parts.layout.conditioned else {"conditioned": False}
        if settings.world_size > 1:
            data["worker"] = {"rank": settings.rank, "world_size": settings.world_size}
        return data


def _without_weights(family: Component) -> dict[str, Any]:
    """The settings of a denoiser's family but those that name its weights, which are recorded by their hash."""
    marked = {field.name for field in attrs.fields(type(family.object)) if field.metadata.get(WEIGHTS)}
    return {key: value for key, value in family.settings.items() if key not in marked}


def files_of(registry: Registry, settings: RunConfig, components: Mapping[str, Component]) -> dict[str, Any]:
    """The files that decide the samples beside checkpoint and guides, as the record names them; {} without any.

    components: by their place in the configuration, as of `assemble.Parts`.
    """
    parts: dict[str, Component | Schedule] = dict(components)
    for group, configured in (("forces", settings.forces), ("drifts", settings.drifts)):
        parts |= {f"{group}[{number}].weight": item.weight for number, item in enumerate(configured)}
    files: dict[str, Any] = {}
    for review in reviews_of(registry, SettingsReview):
        files |= review.files(parts)
    return {"files": files} if files else {}
