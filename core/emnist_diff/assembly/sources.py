"""Where denoisers come from, and loading them."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from emnist_diff import checkpoint
from emnist_diff.assembly import guides
from emnist_diff.components import Component, call_component, make
from emnist_diff.conditions import ConditionSpace
from emnist_diff.config import ComponentConfig, RunConfig
from emnist_diff.errors import CheckpointError, ConfigError, PluginError
from emnist_diff.names import typed
from emnist_diff.plugins import Registry
from emnist_diff.protocols import Denoiser
from emnist_diff.records import DenoiserSpec
from emnist_diff.shortage import out_of_memory
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import ForwardProcess, PredictionType


def shipped_checkpoint(registry: Registry) -> Path:
    """The checkpoint that comes with an installed package. Raises `CheckpointError` when there is none."""
    for entry in registry.of(DenoiserSpec):
        if isinstance(entry.spec, DenoiserSpec) and entry.spec.shipped:
            package, _, resource = entry.spec.shipped.partition(":")
            path = Path(str(importlib.resources.files(package).joinpath(resource)))
            if path.is_file():
                return path
    raise CheckpointError("no checkpoint was named, and no installed package ships one — say --checkpoint FILE")


def checkpoint_path(registry: Registry, settings: RunConfig) -> Path:
    """The checkpoint file that a configuration means."""
    if settings.checkpoint is None:
        return shipped_checkpoint(registry)
    return checkpoint.discover(Path(settings.checkpoint), settings.epoch)


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
            known = made_by(make(registry, DenoiserSpec, settings.denoiser), None, None, "cpu")
            return cls(known.conditions, known.process, known.prediction_type, settings)
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

    def load(self, registry: Registry, device: str) -> tuple[Component, Denoiser]:
        """The component and its denoiser, ready to be asked."""
        if self.path is None:
            assert self.settings.denoiser is not None  # it is one or the other
            made = make(registry, DenoiserSpec, self.settings.denoiser)
            return made, made_by(made, None, None, device)
        header, weights = checkpoint.load(self.path)
        made = make(registry, DenoiserSpec, ComponentConfig(header.family, settings=header.network))
        return made, made_by(made, weights, header, device)


def made_by(made: Component, *given: Any) -> Denoiser:
    """The denoiser that a family makes of these weights, header and device. Raises `PluginError` for a family that
    raises what is no error of this package, or makes no denoiser; `ConfigError` where the device's memory is short."""
    try:
        denoiser: Denoiser = call_component(made.label("denoiser"), made.object.denoiser, *given)
    except PluginError as error:
        if out_of_memory(error.__cause__):
            raise ConfigError(f"the memory of {given[-1]} does not hold the network — say --device cpu") from error
        raise
    if not hasattr(denoiser, "conditions"):
        raise PluginError(
            f"{made.label('denoiser')}: denoiser() returned {type(denoiser).__name__} instead of a denoiser"
        )
    return denoiser


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
) -> dict[str, tuple[Component, Denoiser]]:
    """The components and networks of guides. Raises the errors of `Source.load` and `guides.require_shape`."""
    out = {name: source.load(registry, str(device)) for name, source in sources.items()}
    for name, (_, denoiser) in out.items():
        guides.require_shape(name, denoiser, main)
    return out
