"""From a configuration to an engine ready to walk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import torch

from emnist_diff.assembly import needs
from emnist_diff.assembly.backends import Chosen
from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.earlier import Earlier, as_before
from emnist_diff.assembly.evaluators import guide_on_backend, on_backend
from emnist_diff.assembly.layout import Layout
from emnist_diff.assembly.origins import explained_by_files
from emnist_diff.assembly.padding import warn_of_padding
from emnist_diff.assembly.parts import Parts
from emnist_diff.assembly.record import header_of
from emnist_diff.brief import briefly
from emnist_diff.components import Component, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.engine.plan import Plan
from emnist_diff.engine.state import Engine
from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff.frames import RunHeader
from emnist_diff.machine.forks import use_threads
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Sink
from emnist_diff.records import SinkSpec


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
    sinks = _sinks(registry, settings)
    earlier = Earlier.of(registry)
    device = torch.device(choose_device(settings.device))
    threads = use_threads(settings.threads)
    parts = _parts(registry, settings, earlier if resume else None)
    if report:
        parts.layout.report_idle()
    if resume:
        settings = as_before(settings, Path(settings.output) / parts.layout.folder, earlier)
        if settings.micro_batch is not None:
            parts = attrs.evolve(parts, layout=parts.layout.with_rows(settings.micro_batch))
    denoisers = parts.load(device)
    count = len(range(settings.rank, len(parts.layout.labels), settings.world_size))
    acting = len(parts.layout.terms) + len(parts.layout.drifts)
    needs.require_states(parts.layout.plan, denoisers[""].shape, count, acting, device)
    identity = parts.denoiser.source.identity
    laid, backend, evaluator = on_backend(registry, settings, parts.layout, denoisers[""], identity, device, threads)
    evaluators = {"": evaluator}
    for name, guide in parts.guides.items():
        identity = guide.source.identity
        evaluators[name] = guide_on_backend(settings, laid, backend, name, denoisers[name], identity, device)
    engine = laid.engine(denoisers, device, evaluators, parts.denoiser.component.name)
    plan = laid.share(settings, {name: each.conditions for name, each in denoisers.items()})
    warn_of_padding(plan, engine)
    header = header_of(parts, laid, engine, backend, sinks)
    return Assembly(laid.settings, engine, plan, tuple(s.object for s in sinks), header, backend, earlier)


def preview(registry: Registry, settings: RunConfig) -> Layout:
    """The run that `settings` mean, laid out without reading the weights of a network. Raises as `assemble`."""
    layout = Parts.of(registry, settings).layout
    layout.report_idle()
    return layout


def _parts(registry: Registry, settings: RunConfig, earlier: Earlier | None) -> Parts:
    """The parts of a run.  earlier: what reads the run that this one goes on with, to say where components that are not
    installed came from."""
    try:
        return Parts.of(registry, settings)
    except UnknownName as error:
        said = error if earlier is None else explained_by_files(error, registry, settings, earlier)
        if said is error:
            raise
        raise said from error


def _sinks(registry: Registry, settings: RunConfig) -> list[Component]:
    """The sinks that the settings mean. Raises `ConfigError` for two of them that would write the same files."""
    asked = settings.sinks if settings.sinks is not None else default_sinks(registry)
    sinks = [make(registry, SinkSpec, c) for c in asked]
    _refuse_twins(sinks)
    return sinks


def default_sinks(registry: Registry) -> list[ComponentConfig]:
    """The sinks of a configuration that names none."""
    return [ComponentConfig(e.qualified) for e in registry.of(SinkSpec) if e.spec.default]


def _refuse_twins(sinks: Sequence[Component]) -> None:
    """Raise `ConfigError` for two sinks that would write the same files: the same one twice, under one filename."""
    seen = set()
    for sink in sinks:
        filename = sink.settings.get("filename")
        if (place := (sink.distribution, sink.name, filename)) in seen:
            if filename is None:
                raise ConfigError(f"sink {sink.name!r} is asked for twice — ask for it once")
            raise ConfigError(f"sink {sink.name!r} is asked for twice with filename {filename!r} — give each its own")
        seen.add(place)
