"""What a run records of itself before its first step: settings, files, environment, and the header for sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from emnist_diff import config
from emnist_diff.assembly.reviews import reviews
from emnist_diff.components import Component
from emnist_diff.config import RunConfig
from emnist_diff.engine.decoding import decoder, image_shape
from emnist_diff.families import WEIGHTS
from emnist_diff.frames import RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Captures, offers

if TYPE_CHECKING:
    from emnist_diff.assembly.assemble import Parts
    from emnist_diff.engine.state import Engine
    from emnist_diff.evaluators import Prepared
    from emnist_diff.schedules import Schedule


def header_of(
    registry: Registry, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
) -> RunHeader:
    """What the sinks of a run know before its first frame."""
    layout, denoiser = parts.layout, engine.denoisers[""]
    settings, timeline = layout.settings, layout.timeline
    share = slice(settings.rank, None, settings.world_size)
    return RunHeader(
        output=Path(settings.output) / layout.folder,
        config=_config(registry, parts, backend),
        environment=_environment(registry, parts, engine, backend, sinks),
        timeline=timeline,
        shape=tuple(denoiser.shape),
        image_shape=image_shape(denoiser, engine.device),
        sample_ids=np.arange(len(layout.labels), dtype=np.int64)[share],
        labels=np.array(layout.labels, dtype=np.int64)[share],
        seeds=np.full(len(layout.labels), settings.seed, dtype=np.uint64)[share],
        classes=denoiser.conditions.classes,
        conditioned=layout.conditioned,
        forces=tuple(term.name for term in layout.terms),
        drifts=tuple(item.name for item in layout.drifts),
        force_weights=np.array(
            [[t.weight(timeline.at(i)) for i in range(len(timeline))] for t in layout.terms], dtype=np.float64
        ).reshape(len(layout.terms), len(timeline)),
        rank=settings.rank,
        world_size=settings.world_size,
        fsync=settings.fsync,
        decode=decoder(denoiser, engine.device),
        prediction_type=denoiser.prediction_type,
        activations=dict(denoiser.activations) if offers(denoiser, Captures) else {},
        conditions=tuple(tuple(c for c in conds if not c.denoiser) for conds in layout.plan.evaluations.conditions),
    )


def _environment(
    registry: Registry, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
) -> dict[str, Any]:
    """Where the run is made, and with what; which of several workers makes it, and that classes decide nothing."""
    settings = parts.layout.settings
    data: dict[str, Any] = {} if parts.layout.conditioned else {"conditioned": False}
    if settings.world_size > 1:
        data["worker"] = {"rank": settings.rank, "world_size": settings.world_size}
    for review in reviews(registry):
        data |= review.environment(parts, engine, backend, sinks)
    return data


def _config(registry: Registry, parts: Parts, backend: Prepared) -> dict[str, Any]:
    """What decides the samples, as the file records it; equal records mean equal samples."""
    layout, network = parts.layout, parts.networks[""]
    settings = layout.settings
    data = config.to_dict(settings)
    for key in config.UNRELATED_TO_SAMPLES:
        del data[key]
    for recorded, component in zip([*data["forces"], *data["drifts"]], layout.components.values(), strict=True):
        recorded |= {"name": component.name, "settings": network.source.conditions.spelled(component.settings)}
    data["character"], data["total_videos"], data["per_character"] = list(layout.characters), len(layout.labels), None
    data["denoiser"] = {"name": network.component.name, "settings": _without_weights(network.component)}
    data["scheduler"] = {"name": parts.scheduler.name, "settings": parts.scheduler.settings}
    data["checkpoint_sha256"] = network.source.identity or None
    if guides := {name: guide.source.identity for name, guide in parts.networks.items() if name}:
        data["guide_sha256"] = guides
    data["micro_batch"] = layout.plan.micro_batch
    data["backend"] = {"name": backend.component.name, "settings": backend.component.settings}
    data["precision"] = backend.precision
    return data | files_of(registry, settings, parts.components)


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
    for review in reviews(registry):
        files |= review.files(parts)
    return {"files": files} if files else {}
