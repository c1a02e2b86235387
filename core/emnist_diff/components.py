"""Components of a configuration made real: names resolved, settings structured, errors in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from emnist_diff.config import ComponentConfig
from emnist_diff.deprecation import deprecated
from emnist_diff.errors import ConfigError, PluginError, blame
from emnist_diff.plugins import CORE_DISTRIBUTION, Registry, load_factory
from emnist_diff.records import DriftSpec, ForceSpec, Spec
from emnist_diff.schedules import Constant
from emnist_diff.structuring import structure, unstructure


@attrs.frozen(eq=False)
class Component:
    """A component ready to use: its canonical name, the object, and its full settings as plain data."""

    name: str
    object: Any
    distribution: str
    version: str
    settings: dict[str, Any]

    @property
    def foreign(self) -> str:
        """Distribution and version, for messages; nothing for what comes with this package."""
        return "" if self.distribution == CORE_DISTRIBUTION else f"{self.distribution} {self.version}".rstrip()

    def label(self, kind: str) -> str:
        """How messages call it: ``force 'pull' of my-forces 1.2``."""
        return f"{kind} {self.name!r}" + (f" of {self.foreign}" if self.foreign else "")


def default(registry: Registry, kind: type[Spec]) -> ComponentConfig:
    """The component of a kind that serves where a configuration names none. Raises `ConfigError` without one."""
    for entry in registry.of(kind):
        if entry.spec.default:
            return ComponentConfig(entry.spec.name if registry.health(entry) == "ok" else entry.qualified)
    raise ConfigError(f"no installed {kind.kind} is the default one — name one, see emnist-diff plugins list")


def make(registry: Registry, kind: type[Spec], config: ComponentConfig | None) -> Component:
    """The component that `config` names, with its settings; the default one of the kind for None.

    Raises `UnknownName`, `PluginError` or `ConfigError`, each naming the component.
    """
    config = config or default(registry, kind)
    entry = registry.resolve(kind, config.name)
    label, whose = f"{kind.kind} {entry.spec.name!r}", f"{kind.kind} {entry.spec.name!r} of {entry.distribution}"
    if entry.spec.deprecated:
        deprecated(whose, entry.spec.deprecated)
    if config.weight != Constant(1) and kind not in (ForceSpec, DriftSpec):
        raise ConfigError(f"{label} has no weight — only forces and drifts are weighted")
    if (config.clip_abs is not None or config.clip_norm is not None) and kind is not ForceSpec:
        raise ConfigError(f"{label} cannot be clipped — only forces can")
    factory = load_factory(entry)
    if not attrs.has(factory):
        raise PluginError(f"{whose} is broken: {entry.spec.factory} is not an attrs class")
    if shared := mutable_defaults(factory):
        raise PluginError(
            f"{whose} is broken: its setting {shared[0].name!r} has a mutable default, {shared[0].default!r}, which "
            "all components would share — its author should use attrs.field(factory=…)"
        )
    beside = {ForceSpec: ("weight", "clip_abs", "clip_norm"), DriftSpec: ("weight",)}.get(kind, ())
    component = structure(dict(config.settings), factory, label, beside)
    return Component(entry.spec.name, component, entry.distribution, entry.version, dict(unstructure(component)))


def call_component(label: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """What a component answers before a walk.  label: how messages call it.

    Raises `PluginError` naming the component for whatever it raises, `ConfigError` where memory does not suffice;
    errors of this package pass as they are.
    """
    with blame(PluginError, lambda error: f"{label} raised {type(error).__name__}: {error}"):
        try:
            return call(*arguments)
        except MemoryError as error:
            raise ConfigError(f"{label} needs more memory than there is: {error} — give it smaller settings") from error


def mutable_defaults(factory: Any) -> list[Any]:
    """The attrs fields whose default is one mutable object for every instance. Settings that can be compared by value
    can be hashed; what defines equality and no hash can change under the feet of its users."""
    fields = attrs.fields(factory) if attrs.has(factory) else ()
    return [field for field in fields if field.init and type(field.default).__hash__ is None]
