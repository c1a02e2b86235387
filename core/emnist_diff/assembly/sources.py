"""The sources of a run's denoisers: which family is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.assembly.reviews import reviews
from emnist_diff.components import Component, call_component, make
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import CheckpointError, ConfigError, PluginError
from emnist_diff.families import OpensPaths, Source
from emnist_diff.plugins import Entry, Registry, load_factory
from emnist_diff.protocols import Denoiser
from emnist_diff.records import DenoiserSpec
from emnist_diff.shortage import out_of_memory
from emnist_diff.structuring import unstructure


@attrs.frozen(eq=False)
class Found:
    """A denoiser that was found, and not loaded yet.

    source: what is known of it.  component: the one that runs it, as a run records it.
    """

    source: Source
    component: Component

    def load(self, device: str) -> Denoiser:
        """The denoiser on a device. Raises the family's own errors of this package, `PluginError` for a family that
        raises anything else or makes no denoiser, `ConfigError` where the device's memory is short."""
        label = self.component.label("denoiser")
        try:
            denoiser = call_component(label, self.source.load, device)
        except PluginError as error:
            if out_of_memory(error.__cause__):
                raise ConfigError(f"the memory of {device} does not hold the network — use --device cpu") from error
            raise
        if not isinstance(denoiser, Denoiser):
            raise PluginError(f"{label}: load() returned {type(denoiser).__name__} instead of a denoiser")
        if denoiser.conditions.open and denoiser.conditions is not self.source.conditions:
            raise PluginError(f"{label}: the denoiser has another open condition space than its source — share one")
        return denoiser


def found(registry: Registry, settings: RunConfig) -> Found:
    """The denoiser that a configuration means: of the family that it names, of the first that opens its checkpoint, or
    the default one. Raises the errors of `components.make` and of the families."""
    if settings.denoiser is None:
        return opened(registry, settings.checkpoint, settings.epoch)
    if settings.checkpoint is None:
        return _source_of(registry, make(registry, DenoiserSpec, settings.denoiser))
    entry = registry.resolve(DenoiserSpec, settings.denoiser.name)
    family = _opened_by(registry, entry, settings.checkpoint, settings.epoch, settings.denoiser.settings)
    if family is None:
        raise ConfigError("checkpoint and denoiser exclude each other — name one of them")
    return _source_of(registry, family)


def opened(registry: Registry, path: str | None, epoch: int | None = None) -> Found:
    """The denoiser at a path, of the first family that opens it; the default ones are asked last, and without a path
    they alone. Raises the errors of the families, `CheckpointError` where none opens it."""
    if path is None:
        return _source_of(registry, make(registry, DenoiserSpec, None))
    for entry in sorted(registry.of(DenoiserSpec), key=lambda entry: entry.spec.default):
        if (family := _opened_by(registry, entry, path, epoch, {})) is not None:
            return _source_of(registry, family)
    raise CheckpointError(f"no installed denoiser opens {path}")


def found_guides(registry: Registry, settings: RunConfig, main: Source) -> dict[str, Found]:
    """The guides of a configuration, beside the main denoiser. Raises as `opened`, and `ConfigError` for one that
    does not fit."""
    out = {name: opened(registry, path) for name, path in settings.guides.items()}
    for name, guide in out.items():
        for review in reviews(registry):
            review.require_guide(name, guide.source, main)
    return out


def _opened_by(
    registry: Registry, entry: Entry[DenoiserSpec], path: str, epoch: int | None, settings: Mapping[str, Any]
) -> Component | None:
    """The family of a record with the settings that mean a path, and these over them; None where it opens it not."""
    if not entry.spec.opens_paths:
        return None
    factory, label = load_factory(entry), f"denoiser {entry.spec.name!r} of {entry.distribution}"
    if not isinstance(factory, OpensPaths):
        raise PluginError(f"{label} has no method opened(), and its record says that it opens paths")
    family = call_component(label, factory.opened, Path(path), epoch)
    if family is None:
        return None
    return make(registry, DenoiserSpec, ComponentConfig(entry.qualified, settings={**unstructure(family), **settings}))


def _source_of(registry: Registry, family: Component) -> Found:
    """What a family answers."""
    source = call_component(family.label("denoiser"), family.object.source, registry)
    if not isinstance(source, Source):
        raise PluginError(f"{family.label('denoiser')}: source() returned {type(source).__name__} instead of a Source")
    return Found(source, source.network or family)
