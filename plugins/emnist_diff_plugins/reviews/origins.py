"""Where the components of a recorded run came from, for whoever does not have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from emnist_diff.config import RunConfig
from emnist_diff.errors import UnknownName
from emnist_diff.plugins import Registry
from emnist_diff.records import DenoiserSpec, DriftSpec, ForceSpec, SchedulerSpec, Spec
from emnist_diff.shown import shown
from emnist_diff.surroundings import Review
from emnist_diff_plugins.contract import BackendSpec
from emnist_diff_plugins.earlier import Earlier

_MOST_FILES = 64


class Record(Protocol):
    """What a recorded run says of itself: an `EarlierRun`, or an open trajectory file."""

    @property
    def path(self) -> Path:
        """The file that says it."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The recorded configuration."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Where it was made."""


def require_known(registry: Registry, settings: RunConfig, record: Record) -> None:
    """Raise `UnknownName` for a component of a recorded run that is not installed, with the distribution that it came
    from, where the file says so."""
    family = record.config.get("denoiser")
    named = [(DenoiserSpec, family.get("name"))] if isinstance(family, dict) else []
    for kind, name in [*named, *_components(settings)]:
        if not isinstance(name, str):
            continue
        try:
            registry.resolve(kind, name)
        except UnknownName as error:
            raise explained(error, name, record) from error


@attrs.frozen
class MissingPlugins(Review):
    """Says where an unknown component came from, by what the files of runs record that stand where the settings' own
    output would."""

    def explain(self, error: UnknownName, registry: Registry, settings: RunConfig) -> UnknownName:
        """`Review.explain`."""
        missing = [name for kind, name in _components(settings) if not _known(registry, kind, name)]
        read, earlier = 0, Earlier.of(registry)
        for path in sorted(Path(settings.output).glob("*/*")) if missing else ():
            run = earlier.read(path)
            read += run is not None
            if run is not None and (better := explained(error, missing[0], run)) is not error:
                return better
            if read == _MOST_FILES:
                break
        return error


def explained(error: UnknownName, name: str, record: Record) -> UnknownName:
    """The error with the distribution that offered a component of this name when the run was recorded; as it is where
    the record does not say."""
    for distribution, version in _origins(record.environment, name.rpartition(":")[2]):
        if distribution.endswith(".py"):
            remedy = f"it came from the plugin file {shown(distribution)} — use --plugin-file with its path"
        else:
            called = f"{distribution} {version}".rstrip()
            remedy = f"it came from the distribution {shown(called)} — install that"
        return UnknownName(f"{error}; {record.path} says that {remedy}")
    return error


def _origins(environment: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """The distributions that say that they offered a component of this name, with their versions."""
    others = [item for key in ("workers", "earlier") for item in _list(environment.get(key))]
    for place in (environment, *others):
        plugins = place.get("plugins") if isinstance(place, Mapping) else None
        for distribution, facts in plugins.items() if isinstance(plugins, Mapping) else ():
            if isinstance(facts, Mapping) and name in _list(facts.get("components")):
                version = facts.get("version")
                yield str(distribution), version if isinstance(version, str) else ""


def _components(settings: RunConfig) -> list[tuple[type[Spec], str]]:
    named: list[tuple[type[Spec], str]] = []
    named += [(SchedulerSpec, settings.scheduler.name)] if settings.scheduler is not None else []
    named += [(DenoiserSpec, settings.denoiser.name)] if settings.denoiser is not None else []
    named += [(ForceSpec, force.name) for force in settings.forces]
    named += [(DriftSpec, drift.name) for drift in settings.drifts]
    named += [(BackendSpec, settings.backend.name)] if settings.backend.name != "auto" else []
    return named


def _known(registry: Registry, kind: type[Spec], name: str) -> bool:
    try:
        registry.resolve(kind, name)
    except UnknownName:
        return False
    return True


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
