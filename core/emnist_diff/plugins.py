"""The registry of plugins: which components exist, whose they are, and which plugins are broken.

`discovery` fills it. What a run *asks for* must exist: `Registry.resolve` and `Registry.load` raise, with the reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar, cast

import attrs

from emnist_diff import hookspecs, probing
from emnist_diff.brief import briefly
from emnist_diff.errors import ConfigError, PluginError, nearest, unknown
from emnist_diff.probing import reason
from emnist_diff.records import API, Spec

CORE_DISTRIBUTION = "emnist-diff"
_S = TypeVar("_S", bound=Spec)
_S_co = TypeVar("_S_co", bound=Spec, covariant=True)


@attrs.frozen
class Entry(Generic[_S_co]):
    """A component as found: its record, and the distribution that brought it."""

    spec: _S_co
    distribution: str
    version: str

    @property
    def qualified(self) -> str:
        """``dist:name``, which always resolves to this one."""
        return f"{self.distribution}:{self.spec.name}"

    @property
    def origin(self) -> str:
        """Distribution and version, of which a plugin file has none."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def too_new(self) -> str:
        """That its record asks for a newer core than this, to follow its name; or nothing."""
        return f"needs plugin api {self.spec.api}, this emnist-diff speaks {API}" if self.spec.api > API else ""


@attrs.frozen
class Broken:
    """A plugin, or one hook of it, that could not be used."""

    distribution: str
    plugin: str
    error: str
    traceback: str = ""
    version: str = ""


@attrs.frozen
class Source:
    """A plugin module that was looked at, broken or not."""

    name: str
    distribution: str
    version: str
    module: str

    def broken(self, error: str, part: str = "", traceback: str = "") -> Broken:
        """What is wrong with it, or with one part of it."""
        return Broken(self.distribution, part or self.name, error, traceback, self.version)


@briefly
@attrs.frozen
class Registry:
    """Everything discovery found.  kinds: the record class of each kind of component, by the kind's name."""

    entries: tuple[Entry[Spec], ...]
    broken: tuple[Broken, ...]
    sources: tuple[Source, ...] = ()
    kinds: Mapping[str, type[Spec]] = attrs.field(
        factory=lambda: {record.kind: record for record in hookspecs.HOOKS.values()}
    )

    def of(self, kind: type[_S]) -> list[Entry[_S]]:
        """The components of one kind, by name."""
        found = cast("list[Entry[_S]]", [entry for entry in self.entries if isinstance(entry.spec, kind)])
        return sorted(found, key=lambda entry: (entry.spec.name, entry.distribution))

    def resolve(self, kind: type[_S], name: str) -> Entry[_S]:
        """The component called `name`: its name, an alias, either with the kind's prefix (``force_…``), or
        ``dist:name``.

        Raises `UnknownName` with the nearest names, or `PluginError` when two distributions claim the name or the
        record asks for a newer core.
        """
        known = self.of(kind)
        distribution, _, short = name.rpartition(":")
        plain = short.removeprefix(f"{kind.kind}_")
        candidates = [e for e in known if distribution in ("", e.distribution)]
        tries = (
            [e for e in candidates if wanted in (e.spec.aliases if aliased else (e.spec.name,))]
            for wanted in (short, plain)
            for aliased in (False, True)
        )
        hits = next(filter(None, tries), [])
        if not hits:
            raise self._unknown(kind, distribution, plain, known)
        if len({e.distribution for e in hits}) < len(hits):
            raise PluginError(
                f"{kind.kind} {name!r} is offered more than once by {hits[0].distribution} — report it there"
            )
        if len(hits) > 1:
            raise PluginError(
                f"{kind.kind} {name!r} is offered by {' and '.join(e.distribution for e in hits)} — "
                f"use {' or '.join(repr(e.qualified) for e in hits)}"
            )
        entry = hits[0]
        if entry.too_new:
            raise PluginError(f"{kind.kind} {name!r} of {entry.origin} {entry.too_new} — upgrade emnist-diff")
        return entry

    def health(self, entry: Entry[Spec]) -> str:
        """``ok``, or why a component cannot be asked for by its name; nothing is imported to find out."""
        if entry.too_new:
            return entry.too_new
        others = [e for e in self.of(type(entry.spec)) if e.spec.name == entry.spec.name and e is not entry]
        if others:
            return f"{' and '.join(e.origin for e in others)} has the name too: use {entry.qualified}"
        return "ok"

    def _unknown(self, kind: type[Spec], distribution: str, plain: str, known: Iterable[Entry[Spec]]) -> Exception:
        names = [e.spec.name for e in known]
        hint = f"see emnist-diff plugins list --kind {kind.kind}"
        if distribution in names:
            return ConfigError(
                f"{kind.kind} '{distribution}:{plain}': a setting needs a value — {distribution}:{plain}=VALUE"
            )
        if distribution and distribution not in (known_ones := {s.distribution for s in self.sources}):
            return unknown("distribution", distribution, known_ones, hint)
        if distribution:
            names = [e.spec.name for e in known if e.distribution == distribution]
        if self.broken and not nearest(plain, names):
            hint = "these plugins are broken and may have offered it: " + ", ".join(
                f"{b.distribution} ({b.error})" for b in self.broken
            )
        return unknown(kind.kind, plain, names, hint)

    def load(self, kind: type[_S], name: str) -> type[Any]:
        """The class that a component's factory names, imported now.

        Raises as `resolve` does, and `PluginError` when the factory cannot be imported.
        """
        return cast("type[Any]", load_factory(self.resolve(kind, name)))


def load_factory(entry: Entry[Spec]) -> Any:
    """Import what a record's `factory` names; a failure is a `PluginError` that names the distribution."""
    module, _, attribute = entry.spec.factory.partition(":")
    try:
        with probing.care.loading():
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may raise anything
        raise PluginError(
            f"{entry.spec.kind} {entry.spec.name!r} of {entry.origin} is broken: "
            f"{entry.spec.factory} cannot be loaded ({reason(error)})"
        ) from error
    return found
