"""``emnist-diff plugins``: what is installed, whose it is, and what is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from emnist_diff import plugins as registry_module
from emnist_diff.cli.groups import Subgroup
from emnist_diff.discovery import installed
from emnist_diff.errors import PluginError, unknown
from emnist_diff.plugins import KINDS, Entry
from emnist_diff.printable import echo
from emnist_diff.records import SchedulerSpec

app = typer.Typer(
    cls=Subgroup,
    help="What is installed, whose it is, and what is broken.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
_PLUGIN_FILES = typer.Option([], "--plugin-file", help="A Python file with plugins of your own; may be repeated.")


@app.command("list", short_help="List every component, and what is broken")
def list_(
    kind: str | None = typer.Option(None, help=f"Only one kind: {', '.join(KINDS)}."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    traceback: bool = typer.Option(False, "--traceback", help="Show the tracebacks of broken plugins."),
    strict_plugins: bool = typer.Option(False, "--strict-plugins", help="Fail when any plugin is broken."),
    plugin_file: list[Path] = _PLUGIN_FILES,
) -> None:
    """List every component by kind, and every broken plugin with its reason. Imports none of their code."""
    if kind is not None and kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    found = installed(tuple(plugin_file))
    kinds = [kind] if kind else list(KINDS)
    entries = {k: found.of(KINDS[k]) for k in kinds}
    if as_json:
        data: dict[str, Any] = {
            "components": [
                {
                    "kind": k,
                    "name": e.spec.name,
                    "distribution": e.distribution,
                    "version": e.version,
                    "api": e.spec.api,
                    "factory": e.spec.factory,
                    "summary": e.spec.summary,
                    "health": found.health(e),
                }
                for k in kinds
                for e in entries[k]
            ],
            "plugins": [
                {
                    "plugin": s.name,
                    "distribution": s.distribution,
                    "version": s.version,
                    "module": s.module,
                    "health": "broken" if found.broken_of(s) else "ok",
                }
                for s in found.sources
            ],
            "broken": [
                {
                    "distribution": b.distribution,
                    "version": b.version,
                    "plugin": b.plugin,
                    "error": b.error,
                    "traceback": b.traceback,
                }
                for b in found.broken
            ],
        }
        typer.echo(json.dumps(data, indent=2))
    else:
        for k in kinds:
            if not entries[k]:
                continue
            echo(f"{k}s")
            width = max(len(e.spec.name) for e in entries[k])
            for e in entries[k]:
                health = found.health(e)
                ill = "" if health == "ok" else f"  — {health}"
                echo(f"  {e.spec.name:<{width}}  {e.spec.summary}  [{e.origin}]{ill}")
        for b in found.broken:
            echo(f"broken: {f'{b.distribution} {b.version}'.rstrip()} [{b.plugin}]: {b.error}")
            if traceback:
                for line in b.traceback.rstrip().splitlines():
                    echo(line)
    if strict_plugins:
        registry_module.require_healthy(found)


@app.command("show", short_help="Show a component with its settings")
def show(
    name: str = typer.Argument(help="A component's name, or dist:name."),
    kind: str | None = typer.Option(None, help="Its kind, when several kinds have the name."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    plugin_file: list[Path] = _PLUGIN_FILES,
) -> None:
    """Show a component: what it does, its settings with types and defaults, an example."""
    if kind is not None and kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    found = installed(tuple(plugin_file))
    hits: list[Entry] = []
    failures: list[Exception] = []
    for k in [kind] if kind else KINDS:
        try:
            hits.append(found.resolve(KINDS[k], name))
        except PluginError:
            raise
        except Exception as error:  # another kind may have it
            failures.append(error)
    if not hits:
        if kind:
            raise failures[0]
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


def _described(entry: Entry) -> dict[str, Any]:
    import inspect

    import attrs

    factory = registry_module.load_factory(entry)
    is_attrs = isinstance(factory, type) and attrs.has(factory)
    return {
        "kind": entry.spec.kind,
        "name": entry.spec.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "api": entry.spec.api,
        "aliases": list(entry.spec.aliases),
        "summary": entry.spec.summary,
        "factory": entry.spec.factory,
        "doc": (inspect.getdoc(factory) or "") if isinstance(factory, type) else "",
        "settings": [
            {
                "name": f.name,
                "type": f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type)),
                "default": _default(f.default),
                "help": f.metadata.get("help", ""),
                "aliases": list(f.metadata.get("aliases", ())),
            }
            for f in (attrs.fields(factory) if is_attrs else ())
            if f.init
        ],
    }


def _default(value: Any) -> str:
    import attrs

    if value is attrs.NOTHING:
        return "(required)"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
        return repr(value.factory()) if not value.takes_self else "(computed)"
    return repr(value)


def forces(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."), plugin_file: list[Path] = _PLUGIN_FILES
) -> None:
    """List the forces with one line each; emnist-diff plugins show NAME says more."""
    list_("force", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def drifts(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."), plugin_file: list[Path] = _PLUGIN_FILES
) -> None:
    """List the drifts with one line each; emnist-diff plugins show NAME says more."""
    list_("drift", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def presets(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."), plugin_file: list[Path] = _PLUGIN_FILES
) -> None:
    """List the presets with one line each; emnist-diff plugins show NAME says more."""
    list_("preset", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def schedulers(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    plugin_file: list[Path] = _PLUGIN_FILES,
) -> None:
    """List the schedulers: order of accuracy, whether they draw noise, evaluations of the network a step, and the
    process and predictions that they take; emnist-diff plugins show NAME says more."""
    heads = ("scheduler", "order", "noise", "evaluations", "process", "predictions", "summary")
    rows = []
    for entry in installed(tuple(plugin_file)).of(SchedulerSpec):
        s = entry.spec
        assert isinstance(s, SchedulerSpec)
        rows.append((s.name, s.order, s.noise, s.evaluations, s.process, " ".join(s.predictions), s.summary))
    if as_json:
        typer.echo(json.dumps([dict(zip(heads, row, strict=True)) for row in rows], indent=2))
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
