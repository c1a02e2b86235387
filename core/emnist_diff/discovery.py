"""Discovery: every plugin is looked at, and what it offers put into a `plugins.Registry`.

A plugin that fails to import, or whose hook raises, becomes a `Broken` value and stops nothing else.
"""

from __future__ import annotations

import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from itertools import chain, islice
from types import ModuleType
from typing import Any, TypeVar

import attrs
import pluggy

from emnist_diff import hookspecs, probing
from emnist_diff.errors import nearest
from emnist_diff.plugins import CORE_DISTRIBUTION, Broken, Entry, Registry, Source
from emnist_diff.printable import printable
from emnist_diff.probing import reason
from emnist_diff.records import Spec
from emnist_diff.shown import shortened, shown

MOST_RECORDS = 1000
"""That one hook of a plugin may yield."""

_LONGEST_TRACEBACK = 20_000
_T = TypeVar("_T")

Importing = tuple[Source, Callable[[], object]]
"""A plugin and what imports its module."""

NARROW = "EMNIST_DIFF_PLUGINS"
"""The environment variable that says which of the installed plugins to keep, as `discover` takes it."""


@cache
def installed() -> Registry:
    """The installed plugins that the environment keeps."""
    return discover(narrow=os.environ.get(NARROW))


def discover(
    points: Iterable[EntryPoint] | None = None, narrow: str | None = None, more: Iterable[Importing] = ()
) -> Registry:
    """Look at every plugin: kinds first, for any plugin may offer components of any kind.

    points: entry points of the group ``emnist_diff``; None reads the installed ones.
    narrow: comma-separated plugins or distributions to keep (built-ins always stay); ``""`` keeps none; None all.
    more: plugins that no entry point names.
    """
    plugins = [*_installed(points, narrow), *(_Plugin(source, importing) for source, importing in more)]
    foreign = [plugin for plugin in plugins if plugin.source.distribution != CORE_DISTRIBUTION]
    fatal = {foreign[n]: why for n, why in probing.care.fatal(len(foreign), lambda n: _visit(foreign[n])).items()}
    hooks = dict(hookspecs.HOOKS)
    with probing.care.printing():
        for plugin in plugins:
            if why := fatal.get(plugin):
                plugin.broken.append(plugin.source.broken(why))
            else:
                plugin.load()
        for plugin in plugins:
            plugin.declare_kinds(hooks)
        specifications = hookspecs.specifications(hooks)
        entries = [entry for plugin in plugins for entry in plugin.entries(hooks, specifications)]
    broken = chain.from_iterable(plugin.broken for plugin in plugins)
    kinds = {record.kind: record for record in hooks.values()}
    return Registry(tuple(entries), tuple(broken), tuple(plugin.source for plugin in plugins), kinds)


def _installed(points: Iterable[EntryPoint] | None, narrow: str | None) -> list[_Plugin]:
    """The installed plugins that `narrow` keeps, by name, each once: a path listed twice lists its plugins twice."""
    keep = None if narrow is None else {n.strip() for n in narrow.split(",") if n.strip()}
    out: dict[tuple[str, str, str], _Plugin] = {}
    for point in sorted(entry_points(group=hookspecs.GROUP) if points is None else points, key=lambda p: p.name):
        distribution, version = _whose(point)
        if distribution != CORE_DISTRIBUTION and keep is not None and not {point.name, distribution} & keep:
            continue
        source = Source(point.name, distribution, version, point.value)
        out.setdefault((distribution, point.name, point.value), _Plugin(source, point.load))
    return list(out.values())


def _whose(point: EntryPoint) -> tuple[str, str]:
    """Distribution and version, as one can print them; metadata may lack either."""
    names = (point.dist.name, point.dist.version) if point.dist else (None, None)
    return printable(shortened(names[0] or "(unknown)", 100)), printable(shortened(names[1] or "", 100))


def _visit(plugin: _Plugin) -> None:
    """All of the plugin's code that `discover` will run; only what ends the process, or interrupts it, shows."""
    with probing.care.printing():
        plugin.load()
        for hook in plugin.hooks:
            plugin.yielded(hook, lambda value: value)


@attrs.define(eq=False)
class _Plugin:
    """A plugin, and what is broken of it."""

    source: Source
    importing: Callable[[], object]
    broken: list[Broken] = attrs.field(factory=list)
    module: object = None
    manager: pluggy.PluginManager = attrs.field(factory=lambda: pluggy.PluginManager(hookspecs.GROUP))

    def load(self) -> None:
        """Import it."""
        self.manager.add_hookspecs(hookspecs.specifications([hookspecs.KINDS_HOOK]))
        try:
            module = self.importing()
            self.manager.register(module)
            self.module = module
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # one bad plugin stops nothing
            self.broken.append(_broken(self.source, self.source.name, error))

    @property
    def hooks(self) -> dict[str, pluggy.HookCaller]:
        """Its implementations of hooks, by the hook's name."""
        return {caller.name: caller for caller in self.manager.get_hookcallers(self.module) or ()}

    def yielded(self, hook: str, check: Callable[[Any], _T]) -> list[_T]:
        """What the implementations of a hook yield, each value checked; nothing, and the hook broken, where one of them
        raises."""
        try:
            results: list[Any] = [implementation.function() for implementation in self.hooks[hook].get_hookimpls()]
            found = [check(value) for value in islice(chain.from_iterable(results), MOST_RECORDS + 1)]
            if len(found) > MOST_RECORDS:
                raise ValueError(f"{hook} yields more than {MOST_RECORDS} records")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.broken.append(_broken(self.source, f"{self.source.name} ({hook})", error))
            return []
        return found

    def declare_kinds(self, hooks: dict[str, type[Spec]]) -> None:
        """Add the hooks of kinds that the plugin brings to `hooks`."""
        for record in self.yielded(hookspecs.KINDS_HOOK, _kind) if hookspecs.KINDS_HOOK in self.hooks else ():
            if hooks.setdefault(hookspecs.hook_of(record), record) is not record:
                self.broken.append(self.source.broken(f"{record.__name__}: the kind {record.kind!r} is taken"))

    def entries(self, hooks: Mapping[str, type[Spec]], specifications: ModuleType) -> list[Entry[Spec]]:
        """The components that the plugin offers. What was meant as a hook and is none is broken: pluggy passes over a
        misspelt name, and over a function without the mark, in silence."""
        try:
            self.manager.add_hookspecs(specifications)
        except pluggy.PluginValidationError as error:
            self.broken.append(_broken(self.source, self.source.name, error))
            return []
        found: list[Entry[Spec]] = []
        known = (*hooks, hookspecs.KINDS_HOOK)
        for hook in self.hooks:
            if hook in hooks:
                specs = self.yielded(hook, partial(_checked, record=hooks[hook], hook=hook))
                found += [Entry(spec, self.source.distribution, self.source.version) for spec in specs]
            elif hook not in known:
                self.broken.append(self.source.broken(_no_hook(hook, known)))
        for name, value in vars(self.module).items() if isinstance(self.module, ModuleType) else ():
            own = inspect.isfunction(value) and value.__module__ == vars(self.module)["__name__"]  # not what it imports
            marked = self.manager.parse_hookimpl_opts(self.module, name) is not None
            if own and name.startswith(f"{hookspecs.GROUP}_") and not marked:
                self.broken.append(
                    self.source.broken(f"{name} lacks @hookimpl" if name in known else _no_hook(name, known))
                )
        return found


def _kind(record: Any) -> type[Spec]:
    """A record class that makes a kind."""
    if not (isinstance(record, type) and issubclass(record, Spec)):
        raise TypeError(f"{hookspecs.KINDS_HOOK} yielded {shown(record)}, not a class derived from records.Spec")
    if record.kind in (Spec.kind, "kind") or not re.fullmatch("[a-z][a-z0-9_]*", record.kind):
        raise ValueError(f"{record.__name__}: {shown(record.kind)} cannot be the name of a kind")
    return record


def _no_hook(name: str, known: Iterable[str]) -> str:
    hits = nearest(name, known, limit=1)  # their names have so much in common that others are near
    return f"{name} is no hook — " + (f"did you mean {hits[0]!r}?" if hits else f"hooks are {', '.join(known)}")


def _checked(spec: object, record: type[Spec], hook: str) -> Spec:
    if not isinstance(spec, record):
        module = record.__module__.rpartition(".")[2]
        raise TypeError(f"{hook} yielded {type(spec).__name__}, not {module}.{record.__name__}")
    return spec


def _broken(source: Source, plugin: str, error: BaseException) -> Broken:
    validated = any(isinstance(argument, attrs.Attribute) for argument in error.args)
    # a validator adds the field, the value and more to its sentence
    text = f"{type(error).__name__}: {shortened(str(error.args[0]), 400)}" if validated else reason(error)
    kind, colon, what = text.partition(": ")
    whole = printable(" ".join(f"{kind}{colon}{_refused(error)}{what}".split()))
    try:
        lines = "".join(traceback.format_exception(error)).splitlines()
    except Exception:  # an exception whose own text cannot be had
        lines = [reason(error)]
    shown_lines = shortened("\n".join(map(printable, lines)), _LONGEST_TRACEBACK)
    return source.broken(whole, plugin, shown_lines + "\n")


def _refused(error: BaseException) -> str:
    """The record that could not be made, as the beginning of a message; nothing where it is not known."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        record = frame.f_locals.get("self")
        if isinstance(record, Spec):
            return f"{type(record).__name__} {shown(record.name)}: "
    return ""
