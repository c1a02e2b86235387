"""From a configuration to an engine ready to walk."""

from __future__ import annotations

import importlib.resources
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import numpy as np
import structlog
import torch

from emnist_diff import __version__, checkpoint, config
from emnist_diff.base import Base
from emnist_diff.components import Made, make
from emnist_diff.config import Component, RunConfig
from emnist_diff.engine import Engine
from emnist_diff.errors import CheckpointError, ConfigError
from emnist_diff.plan import Plan, StateMap, Term, make_plan, streams
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser, RunHeader, Scheduler, Sink
from emnist_diff.records import DenoiserSpec, DriftSpec, ForceSpec, SchedulerSpec, SinkSpec

log = structlog.get_logger()


def shipped_checkpoint(registry: Registry) -> Path:
    """The checkpoint that comes with an installed package. Raises `CheckpointError` when there is none."""
    for entry in registry.of(DenoiserSpec):
        if isinstance(entry.spec, DenoiserSpec) and entry.spec.shipped:
            package, _, resource = entry.spec.shipped.partition(":")
            path = Path(str(importlib.resources.files(package).joinpath(resource)))
            if path.is_file():
                return path
    raise CheckpointError("no checkpoint was named, and no installed package ships one — say --checkpoint FILE")


def configure(registry: Registry, *layers: Mapping[str, Any]) -> tuple[RunConfig, checkpoint.CheckpointHeader | None]:
    """The configuration from layers of plain data (file, then command line), with the checkpoint's recommended
    settings under them, and the checkpoint's header. Nothing but the header is read of the checkpoint."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(config.normalised(layer))
    named_only = config.resolve(merged)
    if named_only.denoiser is not None:
        if named_only.checkpoint is not None:
            raise ConfigError("checkpoint and denoiser exclude each other — name one of them")
        return named_only, None
    path = checkpoint_path(registry, named_only)
    header = checkpoint.read_header(path)
    try:
        return config.resolve(header.recommended, merged), header
    except ConfigError as error:
        raise CheckpointError(f"{path}: its recommended settings do not hold here: {error}") from error


def checkpoint_path(registry: Registry, settings: RunConfig) -> Path:
    """The checkpoint file that a configuration means."""
    if settings.checkpoint is None:
        return shipped_checkpoint(registry)
    return checkpoint.discover(Path(settings.checkpoint), settings.epoch)


@attrs.frozen(eq=False)
class Assembly:
    """A run ready to start: engine, plan, sinks, and the samples' own data, (N,) each."""

    config: RunConfig
    engine: Engine
    plan: Plan
    sinks: tuple[Sink, ...]
    header: RunHeader


def assemble(registry: Registry, settings: RunConfig) -> Assembly:
    """Everything a run needs, checked before any work starts.

    Raises the errors of `components.make`, `UnknownName` for a class, `ConfigError` for impossible settings,
    `CheckpointError` for a bad checkpoint.
    """
    scheduler = make(registry, SchedulerSpec, settings.scheduler)
    forces = [make(registry, ForceSpec, c) for c in settings.forces]
    drifts = [make(registry, DriftSpec, c) for c in settings.drifts]
    asked = settings.sinks if settings.sinks is not None else default_sinks(registry)
    sinks = [make(registry, SinkSpec, c) for c in asked]
    device = torch.device(choose_device(settings.device))
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)

    made, denoiser, source = load_denoiser(registry, settings, str(device))
    bound = scheduler.object.bind(denoiser.schedule, denoiser.prediction)
    laid = lay_out(settings, denoiser, bound, forces, drifts, device)
    engine, plan, space = laid.engine, laid.plan, denoiser.conditions
    timeline = engine.timeline
    components = [made, scheduler, *forces, *drifts]
    header = RunHeader(
        output=Path(settings.output) / quote(laid.character, safe=""),
        config=_recorded(settings, laid.character, components, source, plan),
        environment=_environment(engine, [*components, *sinks], source),
        timeline=timeline,
        shape=tuple(denoiser.shape),
        image_shape=_image_shape(denoiser, device),
        sample_ids=np.arange(settings.total_videos, dtype=np.int64),
        labels=np.full(settings.total_videos, laid.label, dtype=np.int64),
        seeds=np.full(settings.total_videos, settings.seed, dtype=np.uint64),
        classes=space.classes,
        forces=tuple(item.name for item in forces),
        drifts=tuple(item.name for item in drifts),
        force_weights=np.array(
            [[t.weight(timeline.at(i)) for i in range(len(timeline))] for t in engine.terms], dtype=np.float64
        ).reshape(len(forces), len(timeline)),
    )
    return Assembly(settings, engine, plan, tuple(s.object for s in sinks), header)


@attrs.frozen(eq=False)
class Layout:
    """An engine laid out for samples of one class: the plan of the whole run, the class and its index."""

    engine: Engine
    plan: Plan
    character: str
    label: int


def lay_out(
    settings: RunConfig,
    denoiser: Denoiser,
    scheduler: Scheduler,
    forces: Sequence[Made],
    drifts: Sequence[Made],
    device: torch.device,
) -> Layout:
    """The engine that walks `settings` with components made already; `forces` and `drifts` are those of `settings`.

    Raises `UnknownName` for a class, `ConfigError` for impossible settings.
    """
    space = denoiser.conditions
    character = space.resolve(settings.character)
    if character != settings.character:
        log.info("class.merged", asked=settings.character, used=character)
    label = space.index(character)
    timeline = scheduler.plan(settings.steps)
    base = Base(settings.base, settings.guidance_scale)
    terms = [
        Term(item.name, item.object, lambda at, weight=asked.weight: weight, stream)  # type: ignore[misc]  # a bound default
        for item, asked, stream in zip(
            forces, settings.forces, streams("force", [item.name for item in forces]), strict=True
        )
    ]
    maps = [
        StateMap(item.name, item.object, stream)
        for item, stream in zip(drifts, streams("drift", [item.name for item in drifts]), strict=True)
    ]
    for conds in (base.conditions(), *(t.force.conditions(timeline.at(0)) for t in terms)):
        for cond in conds:
            space.row(cond, label)
    labels = [label] * settings.total_videos
    plan = make_plan(timeline, base, terms, labels, {"": space}, settings.batch_size, settings.micro_batch)
    engine = Engine({"": denoiser}, scheduler, timeline, base, terms, maps, plan.micro_batch, device)
    return Layout(engine, plan, character, label)


def default_sinks(registry: Registry) -> list[Component]:
    """The sinks of a configuration that names none."""
    return [Component(e.qualified) for e in registry.of(SinkSpec) if isinstance(e.spec, SinkSpec) and e.spec.default]


def choose_device(asked: str) -> str:
    """The torch device that a configuration means; ``auto`` takes a GPU when there is one.

    Raises `ConfigError` for a device that is not there.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {asked!r} cannot be used here: {reason} — use auto or cpu") from error
    return str(device)


def load_denoiser(registry: Registry, settings: RunConfig, device: str) -> tuple[Made, Denoiser, dict[str, Any]]:
    """The denoiser of a configuration, the component it is, and where its weights come from."""
    if settings.denoiser is not None:
        made = make(registry, DenoiserSpec, settings.denoiser)
        spec = registry.resolve(DenoiserSpec, settings.denoiser.name).spec
        if isinstance(spec, DenoiserSpec) and spec.needs_weights:
            raise ConfigError(f"denoiser {made.name!r} needs weights — say --checkpoint FILE instead of --denoiser")
        return made, made.object.denoiser(None, None, device), {}
    path = checkpoint_path(registry, settings)
    header, weights = checkpoint.load(path)
    made = make(registry, DenoiserSpec, Component(header.family, settings=header.network))
    source = {"file": path.name, "sha256": checkpoint.sha256(path), "epoch": header.epoch}
    return made, made.object.denoiser(weights, header, device), source


def _image_shape(denoiser: Denoiser, device: torch.device) -> tuple[int, ...]:
    with torch.inference_mode():
        return tuple(denoiser.decode(torch.zeros(1, *denoiser.shape, device=device)).shape[1:])


def _recorded(
    settings: RunConfig, character: str, made: Sequence[Made], source: Mapping[str, Any], plan: Plan
) -> dict[str, Any]:
    """What decides the samples, as the file records it; equal records mean equal samples."""
    data = config.to_dict(settings)
    for key in config.UNRELATED_TO_SAMPLES:
        del data[key]
    denoiser, scheduler, *rest = made
    weights = [c.weight for c in settings.forces] + [c.weight for c in settings.drifts]
    full = [{"name": m.name, "weight": w, "settings": m.settings} for m, w in zip(rest, weights, strict=True)]
    data["character"] = character
    data["denoiser"] = {"name": denoiser.name, "settings": denoiser.settings}
    data["scheduler"] = {"name": scheduler.name, "settings": scheduler.settings}
    data["forces"], data["drifts"] = full[: len(settings.forces)], full[len(settings.forces) :]
    data["checkpoint_sha256"] = source.get("sha256")
    data["micro_batch"] = plan.micro_batch
    return data


def _environment(engine: Engine, made: Sequence[Made], source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "emnist_diff": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": torch.get_num_threads(),
        "device": str(engine.device),
        "dtype": "float32",
        "micro_batch": engine.micro_batch,
        "checkpoint": dict(source),
        "plugins": {m.distribution: m.version for m in made},
    }
