"""From a configuration to an engine ready to walk."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from emnist_diff import checkpoint, config, filenames, variants
from emnist_diff.assembly import deciding, guides, needs, presets
from emnist_diff.assembly.backends import AUTO, Chosen, ShortOfMemory, choose, precision_of, ready
from emnist_diff.assembly.directions import directed
from emnist_diff.assembly.earlier import Earlier, as_before
from emnist_diff.assembly.idle import places, report_idle
from emnist_diff.assembly.origins import explained_by_files
from emnist_diff.assembly.padding import warn_of_padding
from emnist_diff.assembly.provenance import environment
from emnist_diff.brief import briefly
from emnist_diff.components import Made, make, told
from emnist_diff.conditions import ConditionSpace, listed
from emnist_diff.config import MOST_SAMPLES, Component, RunConfig
from emnist_diff.engine.base import Base
from emnist_diff.engine.clip import Clip, ClipSum
from emnist_diff.engine.decoding import Decoder, image_shape
from emnist_diff.engine.direct import Direct
from emnist_diff.engine.plan import Plan, StateMap, Term, make_plan, nominal_batch, streams
from emnist_diff.engine.walk import Engine
from emnist_diff.errors import CheckpointError, ConfigError, EmnistDiffError, PluginError, UnknownName
from emnist_diff.events import get_logger
from emnist_diff.identity import differing
from emnist_diff.machine.forks import generation, use_threads
from emnist_diff.names import typed
from emnist_diff.plugins import Registry
from emnist_diff.protocols import (
    Denoiser,
    Evaluator,
    ForwardProcess,
    PredictionType,
    RunHeader,
    Scheduler,
    Sink,
    Timeline,
    Workload,
)
from emnist_diff.records import DenoiserSpec, DriftSpec, ForceSpec, SchedulerSpec, SinkSpec
from emnist_diff.schedules import Constant, Schedule
from emnist_diff.shortage import out_of_memory
from emnist_diff.structuring import unstructure

log = get_logger()


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
    """The configuration from layers of plain data (file, then command line), with presets expanded and the
    checkpoint's recommended settings under them, and the checkpoint's header. Nothing but the header is read of the
    checkpoint.

    A configuration as a trajectory file records it is one too: its ``checkpoint_sha256`` and ``guide_sha256`` say which
    checkpoint and guides must be there. Raises `CheckpointError` when they are others.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if "checkpoint_sha256" in layer:  # a record
            merged.update(config.WITHOUT_BACKENDS)
        layer = config.normalised(layer)
        for one, other in (("total_videos", "per_character"), ("per_character", "total_videos")):
            if layer.get(one) is not None and other not in layer:
                merged.pop(other, None)
        merged.update(layer)
    if merged.get("per_character") is not None and "total_videos" in merged:
        raise ConfigError("total_videos and per_character exclude each other — one says it in all, the other of each")
    for given, missing in (("rank", "world_size"), ("world_size", "rank")):
        if given in merged and missing not in merged:
            raise ConfigError(f"{given} = {merged[given]!r:.40} without {missing}: give both, or say --distributed")
    recorded, recorded_guides = merged.pop("checkpoint_sha256", None), merged.pop("guide_sha256", None)
    recorded_files = merged.pop("files", None)
    if recorded is not None:
        merged.pop("denoiser", None)  # which the record copied from the checkpoint
    guided = merged.get("guidance_scale")
    merged = presets.expanded(registry, merged)
    named_only = config.resolve(merged)
    if recorded_guides is not None:
        guides.require_recorded(named_only.guides, recorded_guides, "this configuration")
    if guided is not None and named_only.base != "cfg":
        log.warning("guidance.unused", guidance_scale=guided, base=named_only.base, hint="only base cfg is guided")
    if named_only.denoiser is not None:
        if named_only.checkpoint is not None:
            raise ConfigError("checkpoint and denoiser exclude each other — name one of them")
        _require_files(registry, named_only, named_only.denoiser, recorded_files)
        return named_only, None
    path = checkpoint_path(registry, named_only)
    header = checkpoint.read_header(path)
    if recorded is not None and checkpoint.sha256(path) != recorded:
        raise CheckpointError(
            f"{path} is not the checkpoint that this configuration was recorded with, whose SHA-256 is {recorded} — "
            "name that one with --checkpoint"
        )
    try:
        settings = config.resolve(header.recommended, merged)
    except ConfigError as error:
        raise CheckpointError(f"{path}: its recommended settings do not hold here: {error}") from error
    _require_files(registry, settings, Component(header.family, settings=header.network), recorded_files)
    return settings, header


def _require_files(registry: Registry, settings: RunConfig, denoiser: Component, recorded: Any) -> None:
    """Raise `ConfigError` where a record says that other files decided its samples than those that are named here."""
    if recorded is None:
        return
    made = [make(registry, DenoiserSpec, denoiser), make(registry, SchedulerSpec, settings.scheduler)]
    made += [make(registry, ForceSpec, force) for force in settings.forces]
    made += [make(registry, DriftSpec, drift) for drift in settings.drifts]
    if odd := differing({"files": recorded}, _files(settings, made, {})):
        raise ConfigError(f"this configuration was recorded with other files ({odd}) — give back those that it names")


def checkpoint_path(registry: Registry, settings: RunConfig) -> Path:
    """The checkpoint file that a configuration means."""
    if settings.checkpoint is None:
        return shipped_checkpoint(registry)
    return checkpoint.discover(Path(settings.checkpoint), settings.epoch)


@briefly
@attrs.frozen(eq=False)
class Assembly:
    """A run ready to start: engine, plan, sinks, the samples' own data, (N,) each, what evaluates the
    network, and what reads earlier runs."""

    config: RunConfig
    engine: Engine
    plan: Plan
    sinks: tuple[Sink, ...]
    header: RunHeader
    backend: Chosen
    earlier: Earlier


def assemble(registry: Registry, settings: RunConfig, *, resume: bool = False, report: bool = True) -> Assembly:
    """Everything a run needs, checked before any work starts.

    resume: where backend, precision and rows of a call are left to choice, take those of the earlier run in the
    directory, so that the rest of its samples, or further ones, are of the same arithmetic.
    report: log which components do nothing; a run that leaves some out on purpose need not.

    Raises the errors of `components.make`, `UnknownName` for a class, `ConfigError` for impossible settings,
    `CheckpointError` for a bad checkpoint.
    """
    asked = settings.sinks if settings.sinks is not None else default_sinks(registry)
    sinks = [make(registry, SinkSpec, c) for c in asked]
    _refuse_twins(sinks)
    earlier = Earlier.of(registry)
    device = torch.device(choose_device(settings.device))
    threads = use_threads(settings.threads)

    try:
        parts = _Parts.of(registry, settings)
    except UnknownName as error:
        said = explained_by_files(error, registry, settings, earlier) if resume else error
        if said is error:
            raise
        raise said from error
    if report:
        parts.layout.report_idle()
    if resume:
        settings = as_before(settings, Path(settings.output) / parts.layout.folder, earlier)
        if settings.micro_batch is not None:
            parts = attrs.evolve(parts, layout=parts.layout.with_rows(settings.micro_batch))
    source = parts.source
    made, denoiser = source.load(registry, str(device))
    parts.layout.require_variants({"": denoiser}, made.name)  # before a backend takes its time to set up
    samples = len(range(settings.rank, len(parts.layout.labels), settings.world_size))
    needs.require_states(
        parts.layout.plan, denoiser.shape, samples, len(parts.layout.terms) + len(parts.layout.drifts), device
    )
    laid, backend, evaluator = on_backend(
        registry, settings, parts.layout, denoiser, str(source.facts.get("sha256", "")), device, threads
    )
    further = load_guides(registry, parts.guides, denoiser, device)
    denoisers = {"": denoiser, **{name: loaded for name, (_, loaded) in further.items()}}
    evaluators = {"": evaluator}
    for name, guide in parts.guides.items():
        identity = str(guide.facts["sha256"])
        evaluators[name] = guide_on_backend(settings, laid, backend, name, denoisers[name], identity, device)
    engine = laid.engine(denoisers, device, evaluators, made.name)
    plan, timeline = laid.share(settings, {name: each.conditions for name, each in denoisers.items()}), laid.timeline
    warn_of_padding(plan, engine)
    mine = slice(settings.rank, None, settings.world_size)
    components = [made, parts.scheduler, *laid.forces, *parts.drifts]
    needed = [*components, *(guide for guide, _ in further.values()), *sinks, backend.made]
    header = RunHeader(
        output=Path(settings.output) / laid.folder,
        config=_recorded(laid.settings, laid, components, parts, backend)
        | _files(laid.settings, components, {name: guide for name, (guide, _) in further.items()}),
        environment=environment(needed, device, backend.precision, engine.micro_batch, source.facts)
        | ({"guides": {name: dict(guide.facts) for name, guide in parts.guides.items()}} if parts.guides else {})
        | backend.environment()
        | ({} if laid.conditioned else {"conditioned": False})
        | _worker(settings),
        timeline=timeline,
        shape=tuple(denoiser.shape),
        image_shape=image_shape(denoiser, device),
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
        decode=Decoder(denoiser, device),
        prediction_type=denoiser.prediction,
    )
    return Assembly(laid.settings, engine, plan, tuple(s.object for s in sinks), header, backend, earlier)


def preview(registry: Registry, settings: RunConfig) -> Layout:
    """The run that `settings` mean, laid out without reading the weights of a network. Raises as `assemble`."""
    layout = _Parts.of(registry, settings).layout
    layout.report_idle()
    return layout


@attrs.frozen(eq=False)
class Layout:
    """A run laid out before its network is loaded.

    characters: the classes to generate, in order.  labels: (N,) each sample's own class index.
    plan: the work ahead.  settings, forces: as they act; see `directions`.
    """

    characters: tuple[str, ...]
    labels: tuple[int, ...]
    scheduler: Scheduler
    timeline: Timeline
    base: Base
    terms: tuple[Term, ...]
    drifts: tuple[StateMap, ...]
    plan: Plan
    settings: RunConfig
    forces: tuple[Made, ...]

    @property
    def folder(self) -> str:
        """The characters as the name of a folder, see `filenames.of_classes`."""
        return filenames.of_classes(self.characters)

    def report_idle(self) -> None:
        """Log a warning for each force and drift that does nothing at any step."""
        report_idle(self.timeline, self.terms, self.drifts)

    def with_rows(self, rows: int) -> Layout:
        """The same with so many rows in every network call."""
        return attrs.evolve(self, plan=attrs.evolve(self.plan, micro_batch=rows))

    @property
    def conditioned(self) -> bool:
        """Whether the base or a force reads the samples' own classes. Else these decide nothing of what is made."""
        read = (cond for conds in self.plan.conditions for cond in conds)
        return any(cond.kind == "own" or "own" in cond.values for cond in read) or any(
            getattr(term.force, "reads_own", False) for term in self.terms
        )

    def require_variants(self, denoisers: Mapping[str, Denoiser], called: str) -> None:
        """Raise `ConfigError` for a variant that one of these denoisers does not declare.  called: the main one."""
        for name, variant in self.plan.networks:
            if name in denoisers:
                variants.require(denoisers[name], variant, name or called)

    def share(self, settings: RunConfig, spaces: Mapping[str, ConditionSpace]) -> Plan:
        """The work of the worker that `settings` name. Rows of a call stay those of the whole run, which every worker
        must agree on."""
        if settings.world_size == 1:
            return self.plan
        ids = range(settings.rank, len(self.labels), settings.world_size)
        labels = [self.labels[i] for i in ids]
        rows, size = self.plan.micro_batch, self.plan.batch_size
        return make_plan(self.timeline, self.base, self.terms, labels, spaces, size, rows, ids, drifts=self.drifts)

    def engine(
        self,
        denoisers: Mapping[str, Denoiser],
        device: torch.device,
        evaluators: Mapping[str, Evaluator] | None = None,
        called: str = "of the run",
    ) -> Engine:
        """The engine that walks it with these denoisers, by name; `evaluators` are they on a backend, for calls of the
        plan's `micro_batch`.  called: the main one, in messages.

        Raises `ConfigError` for a variant that a denoiser does not declare, and for states that a
        force or drift does not take; `PluginError` where one raises anything else when it is asked.
        """
        self.require_variants(denoisers, called)
        parts: list[tuple[str, Any]] = [(item.said, item.force) for item in self.terms]
        parts += [(item.said, item.drift) for item in self.drifts]
        for said, part in parts:
            if hasattr(part, "require_shape"):
                told(said, part.require_shape, tuple(denoisers[""].shape))
        return Engine(
            dict(denoisers),
            self.scheduler,
            self.timeline,
            self.base,
            self.terms,
            self.drifts,
            self.plan.micro_batch,
            device,
            dict(evaluators or {}),
        )


def lay_out(
    settings: RunConfig,
    space: ConditionSpace,
    scheduler: Scheduler,
    forces: Sequence[Made],
    drifts: Sequence[Made],
    further: Mapping[str, ConditionSpace] | None = None,
    scheduled: str = "",
) -> Layout:
    """The run that `settings` mean on a model with the classes of `space`, with components made already; `forces` and
    `drifts` are those of `settings`.

    further: the classes of its guides, by name.  scheduled: how messages call the scheduler.

    Raises `UnknownName` for a class or a guide, `ConfigError` for impossible settings, `PluginError` for a force or
    scheduler that raises anything else, or plans no `Timeline`.
    """
    characters = space.characters(settings.character)
    scheduled = scheduled or f"scheduler {type(scheduler).__name__}"
    timeline = told(scheduled, scheduler.plan, settings.steps)
    if not isinstance(timeline, Timeline):
        raise PluginError(f"{scheduled}: plan() returned {type(timeline).__name__} instead of a Timeline")
    settings, forces, drifts = _as_meant(settings, forces, drifts, timeline)
    base = Base(settings.base, settings.guidance_scale)
    terms = [
        Term(
            item.name,
            _bound(item, space),
            asked.weight,
            stream,
            Clip(asked.clip_abs, asked.clip_norm),
            item.foreign,
        )
        for item, asked, stream in zip(
            forces, settings.forces, streams("force", [item.name for item in forces]), strict=True
        )
    ]
    if clip := Clip(settings.clip_abs, settings.clip_norm):
        terms.append(Term("clip", ClipSum(clip), Constant(1.0)))
    maps = [
        StateMap(item.name, item.object, stream, asked.weight, item.foreign)
        for item, asked, stream in zip(
            drifts, settings.drifts, streams("drift", [item.name for item in drifts]), strict=True
        )
    ]
    count = settings.total_videos if settings.per_character is None else settings.per_character * len(characters)
    if count > MOST_SAMPLES:
        raise ConfigError(
            f"per_character = {settings.per_character} of {len(characters)} classes are {count} samples — a run has at "
            f"most {MOST_SAMPLES}"
        )
    if count < len(characters):
        log.warning("classes.without_samples", classes=",".join(characters[count:]), samples=count)
    labels = dealt([space.index(name) for name in characters], count)
    nominal = nominal_batch(torch.device(choose_device(settings.device)).type)
    size = settings.batch_size or nominal
    spaces = {"": space, **(further or {})}
    plan = make_plan(timeline, base, terms, labels, spaces, size, settings.micro_batch, nominal=nominal, drifts=maps)
    if idle := sorted(settings.guides.keys() - {denoiser for denoiser, _ in plan.networks}):
        log.warning("guide.unused", guides=",".join(idle), hint="no condition of this run names it")
    _say_merged(settings, plan, space)
    return Layout(
        characters, labels, scheduler, timeline, base, tuple(terms), tuple(maps), plan, settings, tuple(forces)
    )


def _as_meant(
    settings: RunConfig, forces: Sequence[Made], drifts: Sequence[Made], timeline: Timeline
) -> tuple[RunConfig, list[Made], list[Made]]:
    """Settings, forces and drifts with negative numbers read as `directions` says, so that what is recorded is what
    acts. Raises as `directions.directed`."""
    everywhere = places(timeline)
    steps = [timeline.at(i) for i in range(len(timeline))]
    pulling = [directed("force", m, c.weight, everywhere) for m, c in zip(forces, settings.forces, strict=True)]
    moving = [directed("drift", m, c.weight, steps) for m, c in zip(drifts, settings.drifts, strict=True)]

    def said(asked: Sequence[Component], given: Sequence[Made], meant: Sequence[tuple[Made, Schedule]]) -> Any:
        return tuple(
            attrs.evolve(c, weight=weight, settings=c.settings if made is before else made.settings)
            for c, before, (made, weight) in zip(asked, given, meant, strict=True)
        )

    settings = attrs.evolve(
        settings, forces=said(settings.forces, forces, pulling), drifts=said(settings.drifts, drifts, moving)
    )
    return settings, [m for m, _ in pulling], [m for m, _ in moving]


@attrs.frozen(eq=False)
class _Parts:
    """What is made of a configuration before the weights of its network are read."""

    scheduler: Made
    forces: Sequence[Made]
    drifts: Sequence[Made]
    source: Source
    guides: Mapping[str, Source]
    layout: Layout

    @classmethod
    def of(cls, registry: Registry, settings: RunConfig) -> _Parts:
        """Raises as `assemble`."""
        scheduler = make(registry, SchedulerSpec, settings.scheduler)
        forces = [make(registry, ForceSpec, c) for c in settings.forces]
        drifts = [make(registry, DriftSpec, c) for c in settings.drifts]
        source = Source.of(registry, settings)
        further = guide_sources(settings, source.conditions, source.schedule)
        bound = bound_scheduler(scheduler, source.schedule, source.prediction)
        spaces = {name: guide.conditions for name, guide in further.items()}
        laid = lay_out(settings, source.conditions, bound, forces, drifts, spaces, scheduler.said("scheduler"))
        return cls(scheduler, forces, drifts, source, further, laid)


def _say_merged(settings: RunConfig, plan: Plan, space: ConditionSpace) -> None:
    """Log the classes asked for that the model's dataset has folded into others."""
    said = settings.character or ""
    asked = [said, *listed(said)] if isinstance(said, str) else list(said)
    for conds in dict.fromkeys(plan.conditions):
        asked += [name for cond in conds for name in (cond.value, *cond.values)]
    if merged := [name for name in dict.fromkeys(asked) if name in space.merged]:
        log.info("class.merged", asked=",".join(merged), used=",".join(space.merged[name] for name in merged))


def dealt(indices: Sequence[int], count: int) -> tuple[int, ...]:
    """The classes of `count` samples, dealt in turn: the first samples are the same however many there are, and the
    first classes get one more where it does not divide."""
    return tuple(indices[number % len(indices)] for number in range(count))


def bound_scheduler(made: Made, schedule: ForwardProcess, prediction: PredictionType) -> Scheduler:
    """A scheduler told of the model's forward process and of what it predicts. Raises `ConfigError` where it is for
    others, `PluginError` where it raises anything else or gives no scheduler."""
    bound: Scheduler = told(made.said("scheduler"), made.object.bind, schedule, prediction)
    if not hasattr(bound, "plan"):
        raise PluginError(
            f"{made.said('scheduler')}: bind() returned {type(bound).__name__} instead of a scheduler with plan()"
        )
    return bound


def _bound(made: Made, space: ConditionSpace) -> Any:
    """A force that wants to know the model's classes, told of them."""
    return told(made.said("force"), made.object.bound, space) if hasattr(made.object, "bound") else made.object


def _denoiser(made: Made, *given: Any) -> Denoiser:
    """The denoiser that a family makes of these weights, header and device. Raises `PluginError` for a family that
    raises what is no error of this package, or makes no denoiser; `ConfigError` where the device's memory is short."""
    try:
        denoiser: Denoiser = told(made.said("denoiser"), made.object.denoiser, *given)
    except PluginError as error:
        if out_of_memory(error.__cause__):
            raise ConfigError(f"the memory of {given[-1]} does not hold the network — say --device cpu") from error
        raise
    if not hasattr(denoiser, "conditions"):
        raise PluginError(
            f"{made.said('denoiser')}: denoiser() returned {type(denoiser).__name__} instead of a denoiser"
        )
    return denoiser


def default_sinks(registry: Registry) -> list[Component]:
    """The sinks of a configuration that names none."""
    return [Component(e.qualified) for e in registry.of(SinkSpec) if isinstance(e.spec, SinkSpec) and e.spec.default]


def _refuse_twins(sinks: Sequence[Made]) -> None:
    """Raise `ConfigError` for two sinks that would write the same files: the same one twice, under one filename."""
    seen = set()
    for sink in sinks:
        filename = sink.settings.get("filename")
        if (place := (sink.distribution, sink.name, filename)) in seen:
            if filename is None:
                raise ConfigError(f"sink {sink.name!r} is asked for twice — ask for it once")
            raise ConfigError(f"sink {sink.name!r} is asked for twice with filename {filename!r} — give each its own")
        seen.add(place)


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


@attrs.frozen(eq=False)
class Source:
    """Where a run's denoiser comes from, and what is known of it before its weights are read."""

    conditions: ConditionSpace
    schedule: ForwardProcess
    prediction: PredictionType
    settings: RunConfig
    path: Path | None = None
    facts: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(cls, registry: Registry, settings: RunConfig) -> Source:
        """The source that a configuration names.

        Raises the errors of `checkpoint.read_header` and `components.make`.
        """
        if settings.denoiser is not None:
            spec = registry.resolve(DenoiserSpec, settings.denoiser.name).spec
            if isinstance(spec, DenoiserSpec) and spec.needs_weights:
                raise ConfigError(f"denoiser {spec.name!r} needs weights — say --checkpoint FILE instead of --denoiser")
            known = _denoiser(make(registry, DenoiserSpec, settings.denoiser), None, None, "cpu")
            return cls(known.conditions, known.schedule, known.prediction, settings)
        return cls.of_file(checkpoint_path(registry, settings), settings)

    @classmethod
    def of_file(cls, path: Path, settings: RunConfig) -> Source:
        """The source that a checkpoint file is. Raises the errors of `checkpoint.read_header`."""
        header = checkpoint.read_header(path)
        space = ConditionSpace(header.classes, header.null_index, header.merged)
        facts = {
            "file": typed(path.name),
            "sha256": checkpoint.sha256(path),
            "epoch": header.epoch,
            "schedule": unstructure(header.schedule),
        }
        return cls(space, header.schedule, header.prediction, settings, path, facts)

    def load(self, registry: Registry, device: str) -> tuple[Made, Denoiser]:
        """The component and its denoiser, ready to be asked."""
        if self.path is None:
            assert self.settings.denoiser is not None  # it is one or the other
            made = make(registry, DenoiserSpec, self.settings.denoiser)
            return made, _denoiser(made, None, None, device)
        header, weights = checkpoint.load(self.path)
        made = make(registry, DenoiserSpec, Component(header.family, settings=header.network))
        return made, _denoiser(made, weights, header, device)


def on_backend(
    registry: Registry,
    settings: RunConfig,
    laid: Layout,
    denoiser: Denoiser,
    identity: str,
    device: torch.device,
    threads: int,
) -> tuple[Layout, Chosen, Evaluator]:
    """The layout with the rows of a call decided, and the denoiser on the backend that was chosen for it.

    identity: the SHA-256 of the denoiser's checkpoint, or "".  threads: of the CPU.

    A device whose memory does not hold a call is asked again with half as many rows, before anything is made.
    """
    generation()  # from here on, a process that is forked minds what it is left without
    precision = precision_of(settings.precision, device)
    asked = [variant for name, variant in laid.plan.networks if not name]
    most = laid.plan.largest

    def planned(rows: int) -> Plan:
        return laid.plan if settings.micro_batch is not None else laid.plan.cut(min(rows, most))

    def work(rows: int) -> Workload:
        plan = planned(rows)
        return Workload(plan.micro_batch, device, precision, plan.calls, identity, threads)

    while True:
        try:
            chosen, evaluator = choose(registry, settings.backend, precision, denoiser, work, laid.plan.rows, asked)
        except ShortOfMemory as short:
            if settings.micro_batch is not None or short.rows == 1:
                raise ConfigError(
                    f"the memory of {device} does not hold a call of {short.rows} rows — say a smaller --micro-batch"
                ) from short
            most = short.rows // 2
            log.warning("memory.short", device=str(device), rows=short.rows, instead=most)
            torch.cuda.empty_cache()
            continue
        return attrs.evolve(laid, plan=planned(chosen.rows)), chosen, evaluator


def guide_sources(settings: RunConfig, space: ConditionSpace, process: ForwardProcess) -> dict[str, Source]:
    """Where the guides of a configuration come from, for a network with these classes and this forward process.

    Raises the errors of `checkpoint.read_header` and `guides.require_fit`.
    """
    out = {}
    for name, file in settings.guides.items():
        out[name] = guide = Source.of_file(checkpoint.discover(Path(file)), settings)
        guides.require_fit(name, guide.conditions, guide.schedule, space, process)
    return out


def load_guides(
    registry: Registry, sources: Mapping[str, Source], main: Denoiser, device: torch.device
) -> dict[str, tuple[Made, Denoiser]]:
    """The components and networks of guides. Raises the errors of `Source.load` and `guides.require_shape`."""
    out = {name: source.load(registry, str(device)) for name, source in sources.items()}
    for name, (_, denoiser) in out.items():
        guides.require_shape(name, denoiser, main)
    return out


def guide_on_backend(
    settings: RunConfig,
    laid: Layout,
    backend: Chosen,
    name: str,
    denoiser: Denoiser,
    identity: str,
    device: torch.device,
) -> Evaluator:
    """A guide on the backend that was chosen for the run's own network.

    Raises `ConfigError` where that backend was asked for by name and refuses, one that was chosen here is left out; and
    where the device's memory is short.
    """
    mine = [network for network in laid.plan.networks if network[0] == name]
    calls, asked = sum(map(laid.plan.calls_of, mine)), [variant for _, variant in mine]
    rows = laid.plan.micro_batch
    work = Workload(rows, device, backend.precision, calls, identity, backend.threads)
    try:
        if not (reason := backend.made.object.refusal(denoiser, work)):
            return ready(backend.made.object, denoiser, work, asked)
    except ShortOfMemory as error:
        raise ConfigError(
            f"the memory of {device} does not hold guide {name!r} beside the network — say a smaller --micro-batch"
        ) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if settings.backend.name != AUTO:
            if isinstance(error, EmnistDiffError):
                raise
            raise PluginError(f"backend {backend.made.name!r} broke for guide {name!r}: {reason}") from error
    if settings.backend.name != AUTO:
        raise ConfigError(f"backend {backend.made.name!r} cannot serve guide {name!r}: {reason}")
    log.info("backend.refused", backend=backend.made.name, guide=name, reason=reason)
    return Direct.of(denoiser, rows, device, backend.threads)


def _recorded(
    settings: RunConfig, laid: Layout, made: Sequence[Made], parts: _Parts, backend: Chosen
) -> dict[str, Any]:
    """What decides the samples, as the file records it; equal records mean equal samples."""
    data = config.to_dict(settings)
    for key in config.UNRELATED_TO_SAMPLES:
        del data[key]
    denoiser, scheduler, *rest = made
    full = [
        {**asked, "name": m.name, "settings": parts.source.conditions.spelled(m.settings)}
        for m, asked in zip(rest, [*data["forces"], *data["drifts"]], strict=True)
    ]
    data["character"], data["total_videos"], data["per_character"] = list(laid.characters), len(laid.labels), None
    data["denoiser"] = {"name": denoiser.name, "settings": denoiser.settings}
    data["scheduler"] = {"name": scheduler.name, "settings": scheduler.settings}
    data["forces"], data["drifts"] = full[: len(settings.forces)], full[len(settings.forces) :]
    data["checkpoint_sha256"] = parts.source.facts.get("sha256")
    if parts.guides:
        data["guide_sha256"] = {name: guide.facts["sha256"] for name, guide in parts.guides.items()}
    data["micro_batch"] = laid.plan.micro_batch
    data["backend"] = {"name": backend.made.name, "settings": backend.made.settings}
    data["precision"] = backend.precision
    return data


def _files(settings: RunConfig, made: Sequence[Made], further: Mapping[str, Made]) -> dict[str, Any]:
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
