"""The networks of a run on the backend that a configuration names, or that the registry's chooser takes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from emnist_diff.assembly.layout import Layout
from emnist_diff.components import Component, call_component, make
from emnist_diff.conditions import RowConditions
from emnist_diff.config import AUTO, ComponentConfig
from emnist_diff.direct import Direct
from emnist_diff.errors import ConfigError, EmnistDiffError, PluginError, UnknownName, blame
from emnist_diff.evaluators import Evaluator, Limits, MemoryShort, Prepared, Unsuitable, Workload
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff.records import BackendSpec, ChooserSpec
from emnist_diff.shortage import out_of_memory

log = get_logger()


def on_backend(
    registry: Registry,
    layout: Layout,
    denoisers: Mapping[str, Denoiser],
    identities: Mapping[str, str],
    device: torch.device,
) -> tuple[Layout, Prepared, dict[str, Evaluator]]:
    """The layout with the rows of a call decided, the main network as its backend prepared it, and what evaluates each.

    denoisers, identities: the networks and the SHA-256 of their weights, or "", by name.

    Raises as `prepare`; of guides, `ConfigError` where a backend that was requested by name refuses one.
    """
    settings, plan = layout.settings, layout.plan

    def limits(name: str, rows: int | None) -> Limits:
        return Limits(
            device=device,
            precision="fp32" if settings.precision == "auto" else settings.precision,  # the only harmless one
            largest=plan.largest,
            total=plan.rows,
            rows=rows,
            threads=settings.threads or torch.get_num_threads(),
            identity=identities[name],
            variants=tuple(variant for network, variant in plan.networks if network == name),
        )

    prepared = prepare(registry, settings.backend, denoisers[""], limits("", settings.micro_batch))
    evaluators = {"": prepared.evaluator}
    for name, guide in denoisers.items():
        if name:
            required = settings.backend.name != AUTO
            evaluators[name] = prepare_guide(prepared, name, guide, limits(name, prepared.rows), required)
    return layout.with_rows(prepared.rows), prepared, evaluators


def prepare(registry: Registry, requested: ComponentConfig, denoiser: Denoiser, limits: Limits) -> Prepared:
    """The denoiser on the backend requested; ``auto`` means the one that the default chooser takes.

    Raises the errors of `components.make`; `ConfigError` where the backend refuses or memory does not suffice;
    `PluginError` for one that breaks.
    """

    def attempt(name: str, **settings: object) -> Prepared:
        return _attempt(registry, ComponentConfig(name, settings=settings), denoiser, limits)

    if requested.name == AUTO:
        if requested.settings:
            raise ConfigError("backend 'auto' has no settings — name the backend that they belong to")
        chooser = make(registry, ChooserSpec, None)
        prepared: Prepared = call_component(chooser.label("chooser"), chooser.object.choose, registry, limits, attempt)
        return prepared
    with blame(PluginError, lambda e: f"backend {requested.name!r} broke: {_in_short(e)} — use --backend eager"):
        try:
            return _attempt(registry, requested, denoiser, limits)
        except UnknownName as error:
            raise UnknownName(f"{error}, or auto") from error


def _attempt(registry: Registry, requested: ComponentConfig, denoiser: Denoiser, limits: Limits) -> Prepared:
    """The denoiser on one backend, with half as many rows as long as the device's memory does not hold a call.

    Raises the errors of `components.make`, `Unsuitable`, `MemoryShort`, and whatever the backend raises.
    """
    backend, spec = make(registry, BackendSpec, requested), registry.resolve(BackendSpec, requested.name).spec
    if reason := spec.refusal(limits.device.type, limits.precision):
        raise Unsuitable(f"backend {spec.name!r} {reason}", reason)
    if reason := spec.missing():
        raise Unsuitable(f"backend {spec.name!r}: {reason}", reason)
    most = limits.largest
    while True:
        work = limits.work(min(spec.most_rows(limits.device.type), most))
        try:
            evaluator = set_up(backend, denoiser, work, limits.variants)
            return Prepared(evaluator, work.rows, limits.precision, backend, spec.requires)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if limits.rows is not None or work.rows == 1:
                message = f"the memory of {limits.device} does not hold a call of {work.rows} rows"
                raise MemoryShort(f"{message} — use a smaller --micro-batch") from error
        most = work.rows // 2
        log.warning("memory.short", device=str(limits.device), rows=work.rows, instead=most)
        torch.cuda.empty_cache()


def set_up(backend: Component, denoiser: Denoiser, work: Workload, variants: tuple[str, ...]) -> Evaluator:
    """The denoiser on a backend, with what its set-up and first calls raise; `Unsuitable` where it refuses.

    Variants are evaluated once, since many backends set them up no sooner, and on a device with memory of its own the
    plain network too.
    """
    if reason := backend.object.refusal(denoiser, work):
        raise Unsuitable(f"backend {backend.name!r} cannot serve here: {reason}", reason)
    evaluator: Evaluator = backend.object.evaluator(denoiser, work)
    for variant in variants:
        if variant or work.device.type != "cpu":
            x = torch.zeros(work.rows, *denoiser.shape, device=work.device)
            index = torch.zeros(work.rows, dtype=torch.int64, device=work.device)
            with torch.inference_mode():
                out = evaluator(x, torch.zeros(work.rows, device=work.device), RowConditions(index, variant))
                out.sum().item()  # waits for the device
    return evaluator


def prepare_guide(prepared: Prepared, name: str, guide: Denoiser, limits: Limits, required: bool) -> Evaluator:
    """A guide on the backend of the run's own network, in calls of as many rows.

    required: whether that backend was requested by name and so must serve; else a guide that it refuses is evaluated
    directly. Raises `ConfigError` for a guide that it must serve and refuses, and where the device's memory is short.
    """
    work, backend = limits.work(prepared.rows), prepared.component
    try:
        return set_up(backend, guide, work, limits.variants)
    except Exception as error:
        reason = error.reason if isinstance(error, Unsuitable) else _in_short(error)
        if out_of_memory(error):
            message = f"the memory of {work.device} does not hold guide {name!r} beside the network"
            raise ConfigError(f"{message} — use a smaller --micro-batch") from error
        if required and isinstance(error, Unsuitable):
            raise ConfigError(f"backend {backend.name!r} cannot serve guide {name!r}: {reason}") from error
        if required and isinstance(error, EmnistDiffError):
            raise
        if required:
            raise PluginError(f"backend {backend.name!r} broke for guide {name!r}: {reason}") from error
    log.info("backend.refused", backend=backend.name, guide=name, reason=reason)
    return Direct.of(guide, work.rows, work.device, work.threads)


def _in_short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
