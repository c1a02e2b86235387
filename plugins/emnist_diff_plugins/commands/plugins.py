"""``emnist-diff plugins``: what is installed, whose it is, and what is broken."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import typer

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, unknown
from emnist_diff.plugins import Entry, Registry, load_factory
from emnist_diff.records import Spec
from emnist_diff_plugins.commands.health import require_healthy
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_plugins.terminal.program import Program
from emnist_diff_trajectory.printing import echo

app = typer.Typer(
    cls=Program,
    help="What is installed, whose it is, and what is broken.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_KINDS = (
    *("force", "drift", "scheduler", "sink", "denoiser", "codec", "objective", "recipe", "preset", "dataset"),
    *("command", "plot", "reader", "display", "layer", "form", "review", "chooser", "backend", "schedule"),
)
"""The order in which kinds are listed; those of others come last."""


def _kinds(registry: Registry) -> list[str]:
    """The names of all kinds, in the order in which they are listed."""
    return sorted(registry.kinds, key=lambda kind: _KINDS.index(kind) if kind in _KINDS else len(_KINDS))


_PLUGIN_FILES = typer.Option([], "--plugin-file", help="A Python file with plugins of your own; may be repeated.")


@app.command("list", short_help="List every component, and what is broken")
def list_components(
    kind: str | None = typer.Option(None, help=f"Only one kind: {', '.join(_kinds(installed()))}."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    traceback: bool = typer.Option(False, "--traceback", help="Show the tracebacks of broken plugins."),
    strict_plugins: bool = typer.Option(False, "--strict-plugins", help="Fail when any plugin is broken."),
    plugin_file: list[Path] = _PLUGIN_FILES,
) -> None:
    """List every component by kind, and every broken plugin with its reason. Imports none of their code."""
    found = with_files(plugin_file)
    entries = {k: found.of(found.kinds[k]) for k in _requested(found, kind)}
    if as_json:
        typer.echo(json.dumps(_listed(found, entries), indent=2))
    else:
        _print(found, entries, traceback)
    if strict_plugins:
        require_healthy(found)


def _requested(registry: Registry, kind: str | None) -> list[str]:
    """The kinds that an option means. Raises `UnknownName` for one that no plugin has."""
    if kind is None:
        return _kinds(registry)
    if kind not in registry.kinds:
        raise unknown("kind", kind, registry.kinds)
    return [kind]


def _listed(found: Registry, entries: Mapping[str, list[Entry[Spec]]]) -> dict[str, Any]:
    broken = {(b.distribution, b.plugin.partition(" (")[0]) for b in found.broken}  # a plugin, or one hook of it
    return {
        "components": [{**_identity(e), "health": found.health(e)} for listed in entries.values() for e in listed],
        "plugins": [
            {
                "plugin": s.name,
                "distribution": s.distribution,
                "version": s.version,
                "module": s.module,
                "health": "broken" if (s.distribution, s.name) in broken else "ok",
            }
            for s in found.sources
        ],
        "broken": [attrs.asdict(b) for b in found.broken],
    }


def _print(found: Registry, entries: Mapping[str, list[Entry[Spec]]], traceback: bool) -> None:
    for kind, listed in entries.items():
        if listed:
            echo(f"{kind}s")
        width = max((len(e.spec.name) for e in listed), default=0)
        for e in listed:
            ill = "" if (health := found.health(e)) == "ok" else f"  — {health}"
            echo(f"  {e.spec.name:<{width}}  {e.spec.summary}  [{e.origin}]{ill}")
    for b in found.broken:
        echo(f"broken: {f'{b.distribution} {b.version}'.rstrip()} [{b.plugin}]: {b.error}")
        for line in b.traceback.rstrip().splitlines() if traceback else ():
            echo(line)


def _identity(entry: Entry[Spec]) -> dict[str, Any]:
    return {
        "kind": entry.spec.kind,
        "name": entry.spec.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "api": entry.spec.api,
        "factory": entry.spec.factory,
        "summary": entry.spec.summary,
    }


@app.command("show", short_help="Show a component with its settings")
def show_components(
    name: str = typer.Argument(help="A component's name, or dist:name."),
    kind: str | None = typer.Option(None, help="Its kind, when several kinds have the name."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    plugin_file: list[Path] = _PLUGIN_FILES,
) -> None:
    """Show a component: what it does, its settings with types and defaults, an example."""
    found = with_files(plugin_file)
    hits: list[Entry[Spec]] = []
    for k in _requested(found, kind):
        try:
            hits.append(found.resolve(found.kinds[k], name))
        except ConfigError:  # another kind may have it
            if kind:
                raise
    if not hits:
        raise unknown("component", name, {e.spec.name for e in found.entries}, "see emnist-diff plugins list")
    described = [_described(e) for e in hits]
    if as_json:
        typer.echo(json.dumps(described, indent=2, default=str))
        return
    for number, (e, item) in enumerate(zip(hits, described, strict=True)):
        if number:
            echo()
        echo(f"{item['kind']} {item['name']}  [{e.origin}]")
        echo(f"  {item['summary']}" + (f"  (also: {', '.join(item['aliases'])})" if item["aliases"] else ""))
        if item["doc"]:
            echo()
            for line in item["doc"].splitlines():
                echo(f"  {line}".rstrip())
        if item["settings"]:
            echo()
            echo("  settings:")
            for s in item["settings"]:
                also = f"  (also: {', '.join(s['aliases'])})" if s["aliases"] else ""
                echo(f"    {s['name']}: {s['type']} = {s['default']}  — {s['help']}{also}")


def _described(entry: Entry[Spec]) -> dict[str, Any]:
    factory = load_factory(entry)
    is_class = isinstance(factory, type)
    return {
        **_identity(entry),
        "aliases": list(entry.spec.aliases),
        "doc": (inspect.getdoc(factory) or "") if is_class else "",
        "settings": [
            {
                "name": f.metadata.get("key") or f.name,  # as a table of settings spells it
                "type": f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type)),
                "default": _default(f.default),
                "help": f.metadata.get("help", ""),
                "aliases": list(f.metadata.get("aliases", ())),
            }
            for f in (attrs.fields(factory) if is_class and attrs.has(factory) else ())
            if f.init
        ],
    }


def _default(value: Any) -> str:
    if value is attrs.NOTHING:
        return "(required)"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
        return repr(value.factory()) if not value.takes_self else "(computed)"
    return repr(value)
