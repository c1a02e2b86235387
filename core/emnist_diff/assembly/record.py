"""What the sinks of a run know before its first step; what a run records of itself, its reviews say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from emnist_diff.assembly.reviews import reviews
from emnist_diff.components import Component, call_component
from emnist_diff.frames import FIELDS, RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Captures, Denoiser, HasImageShape, offers
from emnist_diff.timeline import Timeline

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
    own = layout.labels[settings.rank :: settings.world_size]
    ids = np.arange(own.ids.start, own.ids.stop, own.ids.step, dtype=np.int64)
    return RunHeader(
        output=output_of(registry, layout),
        config=config,
        environment=environment,
        timeline=timeline,
        shape=tuple(denoiser.shape),
        image_shape=_image_shape(engine),
        sample_ids=ids,
        labels=np.array(own.turn, dtype=np.int64)[ids % len(own.turn)],
        seeds=np.full(len(ids), settings.seed, dtype=np.uint64),
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
        decode=_decoder(engine),
        prediction_type=denoiser.prediction_type,
        activations=_activations(denoiser, sinks, timeline),
        capturable=tuple(denoiser.capturable) if offers(denoiser, Captures) else (),
        conditions=tuple(tuple(c for c in conds if not c.denoiser) for conds in layout.plan.evaluations.conditions),
    )


def _image_shape(engine: Engine) -> tuple[int, ...]:
    """(C, H, W) of a run's images: as the denoiser says, else those of a state of zeros."""
    denoiser = engine.denoisers[""]
    if offers(denoiser, HasImageShape):
        return tuple(denoiser.image_shape)
    return tuple(engine.decode(torch.zeros(1, *engine.shape, device=engine.device)).shape[1:])


def _decoder(engine: Engine) -> Callable[[Tensor], Tensor]:
    """`Engine.decode` of states wherever they are. The last answer is kept, because several sinks request pictures of
    the same step."""
    last: list[Tensor] = []  # states and their images

    def decode(x: Tensor) -> Tensor:
        if not last or x is not last[0]:
            last[:] = x, engine.decode(x.to(engine.device))
        return last[1]

    return decode


def activation_requests(sinks: Sequence[Component], timeline: Timeline) -> list[str]:
    """What sinks request together beyond what every run has, in order of names."""
    requests = {
        request
        for sink in sinks
        for index in range(len(timeline))
        for request in call_component(sink.label("sink"), sink.object.wants, timeline.at(index))
    }
    return sorted(request for request in requests if request.partition("/")[0] not in FIELDS)


def _activations(denoiser: Denoiser, sinks: Sequence[Component], timeline: Timeline) -> Mapping[str, tuple[int, ...]]:
    """The activations that sinks request, name → shape of a row's; none of a denoiser that captures none."""
    if not offers(denoiser, Captures) or not (requests := activation_requests(sinks, timeline)):
        return {}
    return dict(call_component("the denoiser", denoiser.activations, requests))
