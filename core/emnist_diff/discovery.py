"""Discovery: every plugin is looked at, and what it offers put into a `plugins.Registry`.

A plugin that fails to import, or whose hook raises, becomes a `Broken` value and stops nothing else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pluggy

from emnist_diff import hookspecs, probing
from emnist_diff.errors import PluginError, nearest
from emnist_diff.plugins import CORE_DISTRIBUTION, Broken, Entry, Registry, Source
from emnist_diff.printable import printable
from emnist_diff.probing import reason
from emnist_diff.records import Spec
from emnist_diff.shown import shortened, shown

MOST_RECORDS = 1000
"""That one hook of a plugin may yield."""

_LONGEST_TRACEBACK = 20_000


@attrs.frozen
class _Plugin:
    """A plugin to look at: an installed one, or a file of the user's."""

    source: Source
    where: EntryPoint | Path

    def load(self) -> object:
        return _load_file(self.where) if isinstance(self.where, Path) else self.where.load()


@cache
def installed(files: tuple[Path, ...] = ()) -> Registry:
    """The installed plugins that the environment variable ``EMNIST_DIFF_PLUGINS`` keeps, and those in `files`."""
    return discover(narrow=os.environ.get("EMNIST_DIFF_PLUGINS"), files=files)


def discover(
    points: Iterable[EntryPoint] | None = None, narrow: str | None = None, files: Iterable[Path] = ()
) -> Registry:
    """Look at every plugin.

    points: entry points of the group ``emnist_diff``; None reads the installed ones.
    narrow: comma-separated plugins or distributions to keep (built-ins always stay); ``""`` keeps none; None all.
    files: Python files that hold hook implementations; their distribution is the file's name.

    Raises `PluginError` for a file that is not there or cannot be imported: it was asked for.
    """
    plugins = [*_installed(points, narrow), *(_Plugin(Source(p.stem, p.name, "", p.stem), p) for p in files)]
    foreign = [plugin for plugin in plugins if plugin.source.distribution != CORE_DISTRIBUTION]
    fatal = {foreign[n]: why for n, why in probing.care.fatal(len(foreign), lambda n: _visit(foreign[n])).items()}
    entries: list[Entry[Spec]] = []
    broken: list[Broken] = []
    for plugin in plugins:
        if why := fatal.get(plugin):
            if isinstance(plugin.where, Path):
                raise PluginError(f"plugin file {str(plugin.where)!r} cannot be loaded: {why}")
            broken.append(plugin.source.broken(why))
            continue
        found, bad = _examined(plugin)
        entries += found
        broken += bad
    return Registry(tuple(entries), tuple(broken), tuple(plugin.source for plugin in plugins))


def _installed(points: Iterable[EntryPoint] | None, narrow: str | None) -> list[_Plugin]:
    """The installed plugins that `narrow` keeps, by name, each once: a path listed twice lists its plugins twice."""
    keep = None if narrow is None else {n.strip() for n in narrow.split(",") if n.strip()}
    out: dict[tuple[str, str, str], _Plugin] = {}
    for point in sorted(entry_points(group=hookspecs.GROUP) if points is None else points, key=lambda p: p.name):
        distribution, version = _whose(point)
        if distribution != CORE_DISTRIBUTION and keep is not None and not {point.name, distribution} & keep:
            continue
        source = Source(point.name, distribution, version, point.value)
        out.setdefault((distribution, point.name, point.value), _Plugin(source, point))
    return list(out.values())


def _whose(point: EntryPoint) -> tuple[str, str]:
    """Distribution and version, as one can print them; metadata may lack either."""
    names = (point.dist.name, point.dist.version) if point.dist else (None, None)
    return printable(shortened(names[0] or "(unknown)", 100)), printable(shortened(names[1] or "", 100))


def _visit(plugin: _Plugin) -> None:
    """All that `discover` will do with the plugin; only what ends the process, or interrupts it, shows."""
    with contextlib.suppress(PluginError):  # of a file, which is raised again where somebody hears it
        _examined(plugin)


def _examined(plugin: _Plugin) -> tuple[list[Entry[Spec]], list[Broken]]:
    """What a plugin offers, and what is broken of it. Raises `PluginError` for a file that cannot be imported."""
    source = plugin.source
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    with probing.care.printing():
        try:
            module = plugin.load()
            manager.register(module)
        except (KeyboardInterrupt, PluginError):
            raise
        except BaseException as error:  # one bad plugin stops nothing
            return [], [_broken(source, source.name, error)]
        return _records(manager, module, source)


def _records(manager: pluggy.PluginManager, module: object, source: Source) -> tuple[list[Entry[Spec]], list[Broken]]:
    """What the hooks of one plugin module hand over. What was meant as a hook and is none is broken: pluggy passes over
    a misspelt name, and over a function without the mark, in silence."""
    entries: list[Entry[Spec]] = []
    broken: list[Broken] = []
    callers = {caller.name: caller for caller in manager.get_hookcallers(module) or ()}
    for hook, caller in callers.items():
        if hook not in hookspecs.HOOKS:
            broken.append(source.broken(_no_hook(hook)))
            continue
        try:
            results: list[Any] = [implementation.function() for implementation in caller.get_hookimpls()]
            offered = islice(chain.from_iterable(results), MOST_RECORDS + 1)
            found = [_checked(spec, hookspecs.HOOKS[hook], hook) for spec in offered]
            if len(found) > MOST_RECORDS:
                raise ValueError(f"{hook} yields more than {MOST_RECORDS} records")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            broken.append(_broken(source, f"{source.name} ({hook})", error))
        else:
            entries.extend(Entry(spec, source.distribution, source.version) for spec in found)
    for name, value in vars(module).items() if isinstance(module, ModuleType) else ():
        own = inspect.isfunction(value) and value.__module__ == vars(module)["__name__"]  # what it imports is another's
        if own and name.startswith(f"{hookspecs.GROUP}_") and manager.parse_hookimpl_opts(module, name) is None:
            broken.append(source.broken(f"{name} lacks @hookimpl" if name in hookspecs.HOOKS else _no_hook(name)))
    return entries, broken


def _no_hook(name: str) -> str:
    hits = nearest(name, hookspecs.HOOKS, limit=1)  # their names have so much in common that others are near
    return f"{name} is no hook — " + (
        f"did you mean {hits[0]!r}?" if hits else f"hooks are {', '.join(hookspecs.HOOKS)}"
    )


def _load_file(path: Path) -> object:
    """The module in a file, importable by the file's own name from now on, as its records need."""
    if not os.path.isfile(path):
        raise PluginError(f"plugin file {str(path)!r} does not exist")
    known = sys.modules.get(path.stem)
    if known is not None and os.path.realpath(getattr(known, "__file__", None) or "") != os.path.realpath(path):
        raise PluginError(f"plugin file {str(path)!r} has the name of the module {path.stem!r} — rename it")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.stem.isidentifier():
        raise PluginError(f"plugin file {str(path)!r} is no Python module — name it like one, as in my_forces.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(path.stem, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"plugin file {str(path)!r} cannot be loaded: {reason(error)}") from error
    return module


def _checked(spec: object, record: type[Spec], hook: str) -> Spec:
    if not isinstance(spec, record):
        raise TypeError(f"{hook} yielded {type(spec).__name__}, not records.{record.__name__}")
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
