"""What the sinks of a run know before its first step; what a run records of itself, its reviews say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emnist_diff.assembly.reviews import reviews
from emnist_diff.components import Component
from emnist_diff.engine.decoding import decoder, image_shape
from emnist_diff.frames import RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Captures, offers

if TYPE_CHECKING:
    from emnist_diff.assembly.assemble import Parts
    from emnist_diff.assembly.layout import Layout
    from emnist_diff.engine.state import Engine
    from emnist_diff.evaluators import Prepared


def output_of(registry: Registry, layout: Layout) -> Path:
    """The directory that a run writes to, as the reviews have it."""
    output = Path(layout.settings.output)
    for review in reviews(registry):
        output = review.output(layout, output)
    return output


def header_of(
    registry: Registry, parts: Parts, engine: Engine, backend: Prepared, sinks: Sequence[Component]
) -> RunHeader:
    """What the sinks of a run know before its first frame: config and environment are what the reviews record."""
    layout, denoiser = parts.layout, engine.denoisers[""]
    settings, timeline = layout.settings, layout.timeline
    config: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    for review in reviews(registry):
        config |= review.record(parts, backend, registry)
        environment |= review.environment(parts, engine, backend, sinks)
    share = slice(settings.rank, None, settings.world_size)
    return RunHeader(
        output=output_of(registry, layout),
        config=config,
        environment=environment,
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
