"""What a run records of itself before its first step: settings, files, environment, and the header for sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emnist_diff import config
from emnist_diff.assembly import deciding
from emnist_diff.assembly.provenance import environment
from emnist_diff.components import Component
from emnist_diff.config import RunConfig
from emnist_diff.engine.decoding import Decoder, image_shape
from emnist_diff.frames import RunHeader
from emnist_diff.protocols import Captures, offers

if TYPE_CHECKING:
    from emnist_diff.assembly.backends import Chosen
    from emnist_diff.assembly.layout import Layout
    from emnist_diff.assembly.parts import Parts
    from emnist_diff.engine.state import Engine


def header_of(parts: Parts, laid: Layout, engine: Engine, backend: Chosen, sinks: Sequence[Component]) -> RunHeader:
    """What the sinks of a run are told before its first frame."""
    settings, timeline, denoiser = laid.settings, laid.timeline, engine.denoisers[""]
    mine = slice(settings.rank, None, settings.world_size)
    return RunHeader(
        output=Path(settings.output) / laid.folder,
        config=_config(parts, laid, backend),
        environment=_environment(parts, laid, engine, backend, sinks),
        timeline=timeline,
        shape=tuple(denoiser.shape),
        image_shape=image_shape(denoiser, engine.device),
        sample_ids=np.arange(len(laid.labels), dtype=np.int64)[mine],
        labels=np.array(laid.labels, dtype=np.int64)[mine],
        seeds=np.full(len(laid.labels), settings.seed, dtype=np.uint64)[mine],
        classes=denoiser.conditions.classes,
        conditioned=laid.conditioned,
        forces=tuple(term.name for term in laid.terms),
        drifts=tuple(item.name for item in laid.drifts),
        force_weights=np.array(
            [[t.weight(timeline.at(i)) for i in range(len(timeline))] for t in laid.terms], dtype=np.float64
        ).reshape(len(laid.terms), len(timeline)),
        rank=settings.rank,
        world_size=settings.world_size,
        fsync=settings.fsync,
        decode=Decoder(denoiser, engine.device),
        prediction_type=denoiser.prediction_type,
        activations=tuple(denoiser.activations) if offers(denoiser, Captures) else (),
    )


def _environment(
    parts: Parts, laid: Layout, engine: Engine, backend: Chosen, sinks: Sequence[Component]
) -> dict[str, Any]:
    """Where the run is made, and with what."""
    components = [*parts.components, *(guide.component for guide in parts.guides.values()), *sinks, backend.made]
    guides = {name: dict(guide.source.facts) for name, guide in parts.guides.items()}
    return (
        environment(components, engine.device, backend.precision, engine.micro_batch, parts.denoiser.source.facts)
        | ({"guides": guides} if guides else {})
        | backend.environment()
        | ({} if laid.conditioned else {"conditioned": False})
        | _worker(laid.settings)
    )


def _config(parts: Parts, laid: Layout, backend: Chosen) -> dict[str, Any]:
    """What decides the samples, as the file records it; equal records mean equal samples."""
    settings, source = laid.settings, parts.denoiser.source
    data = config.to_dict(settings)
    for key in config.UNRELATED_TO_SAMPLES:
        del data[key]
    denoiser, scheduler, *rest = parts.components
    full = [
        {**asked, "name": m.name, "settings": source.conditions.spelled(m.settings)}
        for m, asked in zip(rest, [*data["forces"], *data["drifts"]], strict=True)
    ]
    data["character"], data["total_videos"], data["per_character"] = list(laid.characters), len(laid.labels), None
    data["denoiser"] = {"name": denoiser.name, "settings": deciding.without_weights(denoiser)}
    data["scheduler"] = {"name": scheduler.name, "settings": scheduler.settings}
    data["forces"], data["drifts"] = full[: len(settings.forces)], full[len(settings.forces) :]
    data["checkpoint_sha256"] = source.identity or None
    if parts.guides:
        data["guide_sha256"] = {name: guide.source.identity for name, guide in parts.guides.items()}
    data["micro_batch"] = laid.plan.micro_batch
    data["backend"] = {"name": backend.made.name, "settings": backend.made.settings}
    data["precision"] = backend.precision
    return data | files_of(settings, parts.components, {name: guide.component for name, guide in parts.guides.items()})


def files_of(settings: RunConfig, made: Sequence[Component], further: Mapping[str, Component]) -> dict[str, Any]:
    """The files that decide the samples beside checkpoint and guides, as the record names them; {} without any."""
    denoiser, scheduler, *rest = made
    forces, drifts = rest[: len(settings.forces)], rest[len(settings.forces) :]
    parts: dict[str, Any] = {"denoiser": denoiser, "scheduler": scheduler}
    parts |= {f"guides.{name}": guide for name, guide in further.items()}
    for kind, items, components in (("forces", forces, settings.forces), ("drifts", drifts, settings.drifts)):
        for number, (item, component) in enumerate(zip(items, components, strict=True)):
            parts[f"{kind}[{number}]"] = item
            parts[f"{kind}[{number}].weight"] = component.weight
    files = deciding.recorded_files(parts)
    return {"files": files} if files else {}


def _worker(settings: RunConfig) -> dict[str, Any]:
    """Which of several workers a file is of."""
    alone = settings.world_size == 1
    return {} if alone else {"worker": {"rank": settings.rank, "world_size": settings.world_size}}
