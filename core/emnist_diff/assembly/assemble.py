"""From a configuration to an engine ready to walk."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import attrs
import torch

from emnist_diff.assembly.devices import choose_device
from emnist_diff.assembly.layout import Layout, bound_scheduler, lay_out
from emnist_diff.assembly.record import header_of
from emnist_diff.assembly.reviews import reviews, unknown_names_explained
from emnist_diff.assembly.sources import Found, found, found_guides
from emnist_diff.brief import briefly
from emnist_diff.components import Component, call_component, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.engine.plan import Plan
from emnist_diff.engine.state import Engine
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.evaluators import Prepared
from emnist_diff.frames import RunHeader
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser, Sink
from emnist_diff.records import ChooserSpec, SchedulerSpec, SinkSpec


@briefly
@attrs.frozen(eq=False)
class Assembly:
    """A run ready to start: engine, plan, sinks, the samples' own data, (N,) each, what evaluates the network, the
    registry that all of it comes from, and what it was assembled of."""

    config: RunConfig
    engine: Engine
    plan: Plan
    sinks: tuple[Sink, ...]
    header: RunHeader
    backend: Prepared
    registry: Registry
    parts: Parts


@attrs.frozen(eq=False)
class Parts:
    """A configuration before the weights of its networks are read.  networks: by name; ``""`` is the main one."""

    scheduler: Component
    networks: Mapping[str, Found]
    layout: Layout

    @classmethod
    def of(cls, registry: Registry, settings: RunConfig, denoiser: Found | None = None) -> Parts:
        """denoiser: the one that the settings mean, where it was found already. Raises as `assemble`."""
        scheduler = make(registry, SchedulerSpec, settings.scheduler)
        denoiser = denoiser or found(registry, settings)
        source = denoiser.source
        networks = {"": denoiser} | found_guides(registry, settings, source)
        bound = bound_scheduler(scheduler, source.process, source.prediction_type)
        spaces = {name: network.source.conditions for name, network in networks.items()}
        return cls(scheduler, networks, lay_out(registry, settings, spaces, bound, scheduler.label("scheduler")))

    def load(self, device: torch.device) -> dict[str, Denoiser]:
        """The networks on a device, by name. Raises as `Found.load`."""
        return {name: network.load(str(device)) for name, network in self.networks.items()}

    @property
    def components(self) -> dict[str, Component]:
        """All components by their place in the configuration, such as ``denoiser``, ``guides.weak``, ``forces[0]``."""
        networks = {f"guides.{name}" if name else "denoiser": found.component for name, found in self.networks.items()}
        return {**networks, "scheduler": self.scheduler, **self.layout.components}


def assemble(
    registry: Registry,
    settings: RunConfig,
    *,
    resume: bool = False,
    report: bool = True,
    denoiser: Found | None = None,
    threads: int | None = None,
) -> Assembly:
    """Everything a run needs, checked before any work starts.

    resume: where settings are left to choice, take those of the earlier run in the directory, so that the rest of its
    samples, or others beside them, are of the same arithmetic; see `Review.resume`.
    report: log which components do nothing; a run that leaves some out on purpose need not.
    denoiser: what `configure` found for the settings, which is then not searched for again.
    threads: of the CPU, that the run will compute with; None for those of the settings, or that torch has. They are set
    by `running.run.prepare`, not by this.

    Raises the errors of `components.make`, `UnknownName` for a class, `ConfigError` for impossible settings,
    `CheckpointError` for a bad checkpoint.
    """
    sinks = sinks_of(registry, settings)
    device = torch.device(choose_device(settings.device))
    settings = attrs.evolve(settings, threads=threads or settings.threads or torch.get_num_threads())
    with unknown_names_explained(registry, settings) if resume else nullcontext():
        parts = Parts.of(registry, settings, denoiser)
    if report:
        report_on(registry, parts.layout)
    for review in reviews(registry) if resume else ():
        parts = attrs.evolve(parts, layout=review.resume(parts.layout, registry))
    denoisers = parts.load(device)
    for review in reviews(registry):
        review.require(parts, denoisers, device)
    identities = {name: network.source.identity for name, network in parts.networks.items()}
    backend = chosen_backend(registry, parts.layout, denoisers, identities, device)
    layout = parts.layout.with_rows(backend.rows)
    engine = layout.engine(denoisers, device, backend)
    parts = attrs.evolve(parts, layout=layout)
    header = header_of(registry, parts, engine, backend, sinks)
    objects = tuple(sink.object for sink in sinks)
    assembly = Assembly(layout.settings, engine, layout.share(), objects, header, backend, registry, parts)
    for review in reviews(registry) if report else ():
        review.report_assembly(assembly)
    return assembly


def chosen_backend(
    registry: Registry,
    layout: Layout,
    denoisers: Mapping[str, Denoiser],
    identities: Mapping[str, str],
    device: torch.device,
) -> Prepared:
    """The networks of a run on a backend, as the registry's chooser has it; see `Chooser.choose`."""
    chooser = make(registry, ChooserSpec, None)
    label = chooser.label("chooser")
    prepared = call_component(label, chooser.object.choose, registry, layout, denoisers, identities, device)
    if not isinstance(prepared, Prepared):
        raise PluginError(f"{label}: choose() returned {type(prepared).__name__} instead of Prepared")
    return prepared


def report_on(registry: Registry, layout: Layout) -> None:
    """Log what the reviews have to say of a run."""
    for review in reviews(registry):
        review.report(layout)


def default_sinks(registry: Registry) -> list[ComponentConfig]:
    """The sinks of a configuration that names none."""
    return [ComponentConfig(entry.qualified) for entry in registry.of(SinkSpec) if entry.spec.default]


def sinks_of(registry: Registry, settings: RunConfig) -> list[Component]:
    """The sinks that the settings mean, or the default ones, each made anew. Raises `ConfigError` for two of them that
    would write the same files: the same one twice, under one filename."""
    configs = default_sinks(registry) if settings.sinks is None else settings.sinks
    sinks = [make(registry, SinkSpec, config) for config in configs]
    places = [(sink.distribution, sink.name, sink.settings.get("filename")) for sink in sinks]
    for number, (_, name, filename) in enumerate(places):
        if places[number] in places[:number]:
            named, remedy = (f" with filename {filename!r}", "give each its own") if filename else ("", "give it once")
            raise ConfigError(f"sink {name!r} is given twice{named} — {remedy}")
    return sinks
