"""Discovery: which components exist, whose they are, and which plugins are broken.

A plugin that fails to import, or whose hook raises, becomes a `Broken` value and stops nothing else. What a run
*asks for* must exist: `Registry.resolve` and `Registry.load` raise, with the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import attrs
import pluggy

from emnist_diff import hookspecs
from emnist_diff.errors import ConfigError, PluginError, nearest, unknown
from emnist_diff.records import API, Spec

CORE_DISTRIBUTION = "emnist-diff"
ENVIRONMENT = "EMNIST_DIFF_PLUGINS"
_S = TypeVar("_S", bound=Spec)


@attrs.frozen
class Entry:
    """A component as found: its record, and the distribution that brought it."""

    spec: Spec
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


@attrs.frozen
class Registry:
    """Everything discovery found."""

    entries: tuple[Entry, ...]
    broken: tuple[Broken, ...]
    sources: tuple[Source, ...] = ()

    def of(self, kind: type[_S]) -> list[Entry]:
        """The components of one kind, by name."""
        return sorted(
            (e for e in self.entries if isinstance(e.spec, kind)), key=lambda e: (e.spec.name, e.distribution)
        )

    def resolve(self, kind: type[_S], name: str) -> Entry:
        """The component called `name`: its name, an alias, either with the kind's prefix (``force_…``), or
        ``dist:name``.

        Raises `UnknownName` with the nearest names, or `PluginError` when two distributions claim the name or the
        record asks for a newer core.
        """
        known = self.of(kind)
        distribution, _, short = name.rpartition(":")
        plain = short.removeprefix(f"{kind.kind}_")
        hits: list[Entry] = []
        for wanted in dict.fromkeys((short, plain)):
            theirs = [e for e in known if not distribution or e.distribution == distribution]
            hits = [e for e in theirs if wanted == e.spec.name] or [e for e in theirs if wanted in e.spec.aliases]
            if hits:
                break
        if not hits:
            raise self._unknown(kind, distribution, plain, known)
        if len({e.distribution for e in hits}) < len(hits):
            raise PluginError(
                f"{kind.kind} {name!r} is offered more than once by {hits[0].distribution} — report it there"
            )
        if len(hits) > 1:
            raise PluginError(
                f"{kind.kind} {name!r} is offered by {' and '.join(e.distribution for e in hits)} — "
                f"say {' or '.join(repr(e.qualified) for e in hits)}"
            )
        entry = hits[0]
        if entry.spec.api > API:
            raise PluginError(
                f"{kind.kind} {name!r} of {entry.origin} needs plugin api {entry.spec.api}, "
                f"this emnist-diff speaks {API} — upgrade emnist-diff"
            )
        return entry

    def health(self, entry: Entry) -> str:
        """``ok``, or why a component cannot be asked for by its name; nothing is imported to find out."""
        if entry.spec.api > API:
            return f"needs plugin api {entry.spec.api}, this emnist-diff speaks {API}"
        others = [e for e in self.of(type(entry.spec)) if e.spec.name == entry.spec.name and e is not entry]
        if others:
            return f"{' and '.join(e.origin for e in others)} has the name too: say {entry.qualified}"
        return "ok"

    def broken_of(self, source: Source) -> tuple[Broken, ...]:
        """What is broken of one plugin module."""
        return tuple(
            b
            for b in self.broken
            if b.distribution == source.distribution
            and (b.plugin == source.name or b.plugin.startswith(f"{source.name} ("))
        )

    def _unknown(self, kind: type[Spec], distribution: str, plain: str, known: Iterable[Entry]) -> Exception:
        names = [e.spec.name for e in known]
        hint = f"see emnist-diff plugins list --kind {kind.kind}"
        if distribution in names:
            return ConfigError(
                f"{kind.kind} '{distribution}:{plain}': a setting needs a value — {distribution}:{plain}=VALUE"
            )
        if distribution and distribution not in (there := {s.distribution for s in self.sources}):
            return unknown("distribution", distribution, there, hint)
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
        entry = self.resolve(kind, name)
        factory: type[Any] = load_factory(entry)
        return factory


def load_factory(entry: Entry) -> Any:
    """Import what a record's `factory` names; a failure is a `PluginError` that names the distribution."""
    module, _, attribute = entry.spec.factory.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything
        raise PluginError(
            f"{entry.spec.kind} {entry.spec.name!r} of {entry.origin} is broken: "
            f"{entry.spec.factory} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    return found


def discover(
    points: Iterable[EntryPoint] | None = None, narrow: str | None = None, files: Iterable[Path] = ()
) -> Registry:
    """Look at every plugin.

    points: entry points of the group ``emnist_diff``; None reads the installed ones.
    narrow: comma-separated plugins or distributions to keep (built-ins always stay); ``""`` keeps none; None all.
    files: Python files that hold hook implementations; their distribution is the file's name.

    Raises `PluginError` for a file that is not there or cannot be imported: it was asked for.
    """
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    keep = None if narrow is None else {n.strip() for n in narrow.split(",") if n.strip()}
    entries: list[Entry] = []
    broken: list[Broken] = []
    sources: list[Source] = []
    seen: set[tuple[str, str, str]] = set()
    for point in sorted(entry_points(group=hookspecs.GROUP) if points is None else points, key=lambda p: p.name):
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("(unknown)", "")
        if (distribution, point.name, point.value) in seen:  # a path listed twice lists its plugins twice
            continue
        seen.add((distribution, point.name, point.value))
        if distribution != CORE_DISTRIBUTION and keep is not None and not {point.name, distribution} & keep:
            continue
        sources.append(Source(point.name, distribution, version, point.value))
        try:
            module = point.load()
        except (Exception, SystemExit) as error:  # one bad plugin stops nothing
            broken.append(_broken(distribution, version, point.name, error))
            continue
        found, bad = _records(manager, module, distribution, version, point.name)
        entries += found
        broken += bad
    for path in files:
        found, bad = _records(manager, _load_file(path), path.name, "", path.stem)
        sources.append(Source(path.stem, path.name, "", path.stem))
        entries += found
        broken += bad
    return Registry(tuple(entries), tuple(broken), tuple(sources))


def _records(
    manager: pluggy.PluginManager, module: object, distribution: str, version: str, name: str
) -> tuple[list[Entry], list[Broken]]:
    """What one plugin module's hooks hand over."""
    key = f"{distribution}:{name}"
    entries: list[Entry] = []
    broken: list[Broken] = []
    try:
        manager.register(module, key)
    except (Exception, SystemExit) as error:
        return [], [_broken(distribution, version, name, error)]
    for hook, record in hookspecs.HOOKS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin_name != key:
                continue
            try:
                found = [_checked(spec, record, hook) for spec in implementation.function()]
            except (Exception, SystemExit) as error:
                broken.append(_broken(distribution, version, f"{name} ({hook})", error))
            else:
                entries.extend(Entry(spec, distribution, version) for spec in found)
    broken += [Broken(distribution, name, said, version=version) for said in _no_hooks(manager, module)]
    return entries, broken


def _no_hooks(manager: pluggy.PluginManager, module: object) -> list[str]:
    """What is wrong with functions of a plugin module that were meant as hooks and are none: pluggy passes over a
    misspelt name and over one without the mark in silence. What the module imports is not its own."""
    wrong: list[str] = []
    if not isinstance(module, ModuleType):
        return wrong
    for name, value in vars(module).items():
        if not inspect.isfunction(value) or value.__module__ != module.__name__:
            continue
        marked = manager.parse_hookimpl_opts(module, name)
        known = ((marked and marked["specname"]) or name) in hookspecs.HOOKS
        if known and marked is None:
            wrong.append(f"{name} lacks @hookimpl")
        elif not known and (marked is not None or name.startswith(f"{hookspecs.GROUP}_")):
            hits = nearest(name, hookspecs.HOOKS, limit=1)  # their names have so much in common that others are near
            way_out = f"did you mean {hits[0]!r}?" if hits else f"hooks are {', '.join(hookspecs.HOOKS)}"
            wrong.append(f"{name} is no hook — {way_out}")
    return wrong


def _load_file(path: Path) -> object:
    """The module in a file, importable by the file's own name from now on, as its records need."""
    if not path.is_file():
        raise PluginError(f"plugin file {str(path)!r} does not exist")
    known = sys.modules.get(path.stem)
    if known is not None and Path(getattr(known, "__file__", None) or "").resolve() != path.resolve():
        raise PluginError(f"plugin file {str(path)!r} has the name of the module {path.stem!r} — rename it")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.stem.isidentifier():
        raise PluginError(f"plugin file {str(path)!r} is no Python module — name it like one, as in my_forces.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        raise PluginError(f"plugin file {str(path)!r} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _checked(spec: object, record: type[Spec], hook: str) -> Spec:
    if not isinstance(spec, record):
        raise TypeError(f"{hook} yielded {type(spec).__name__}, not records.{record.__name__}")
    return spec


def _broken(distribution: str, version: str, plugin: str, error: BaseException) -> Broken:
    validated = any(isinstance(argument, attrs.Attribute) for argument in error.args)
    said = error.args[0] if validated else error  # a validator adds the field, the value and more to its sentence
    text = " ".join(f"{type(error).__name__}: {_refused(error)}{said}".split())
    return Broken(distribution, plugin, text, "".join(traceback.format_exception(error)), version)


def _refused(error: BaseException) -> str:
    """The record that could not be made, as the beginning of a message; nothing where it is not known."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        record = frame.f_locals.get("self")
        if isinstance(record, Spec):
            return f"{type(record).__name__} {getattr(record, 'name', '')!r}: "
    return ""


@cache
def installed(files: tuple[Path, ...] = ()) -> Registry:
    """The installed plugins, as narrowed by the environment variable ``EMNIST_DIFF_PLUGINS``, and those in `files`;
    found once."""
    return discover(narrow=os.environ.get(ENVIRONMENT), files=files)


def require_healthy(registry: Registry) -> None:
    """Raise `PluginError` when any plugin is broken (``--strict-plugins``)."""
    if registry.broken:
        raise PluginError(
            "broken plugins: "
            + "; ".join(f"{b.distribution} [{b.plugin}]: {b.error}" for b in registry.broken)
            + " — see emnist-diff plugins list --traceback"
        )


KINDS: dict[str, type[Spec]] = {record.kind: record for record in hookspecs.HOOKS.values()}
"""Record classes by the name of their kind."""
