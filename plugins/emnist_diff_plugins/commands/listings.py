"""``emnist-diff forces``, ``drifts``, ``presets``, ``recipes``, ``schedulers``: a line for each component of a kind."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from emnist_diff.records import SchedulerSpec
from emnist_diff_plugins.commands.plugins import list_components
from emnist_diff_plugins.pluginfiles import with_files
from emnist_diff_trajectory.printing import echo

_JSON = typer.Option(False, "--json", help="Print JSON.")
_PLUGIN_FILES = typer.Option([], "--plugin-file", help="A Python file with plugins of your own; may be repeated.")


def forces(as_json: bool = _JSON, plugin_file: list[Path] = _PLUGIN_FILES) -> None:
    """List the forces with one line each; emnist-diff plugins show NAME says more."""
    list_components("force", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def drifts(as_json: bool = _JSON, plugin_file: list[Path] = _PLUGIN_FILES) -> None:
    """List the drifts with one line each; emnist-diff plugins show NAME says more."""
    list_components("drift", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def presets(as_json: bool = _JSON, plugin_file: list[Path] = _PLUGIN_FILES) -> None:
    """List the presets with one line each; emnist-diff plugins show NAME says more."""
    list_components("preset", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def recipes(as_json: bool = _JSON, plugin_file: list[Path] = _PLUGIN_FILES) -> None:
    """List the recipes of emnist-diff train with one line each; emnist-diff plugins show NAME says more."""
    list_components("recipe", as_json, traceback=False, strict_plugins=False, plugin_file=plugin_file)


def schedulers(as_json: bool = _JSON, plugin_file: list[Path] = _PLUGIN_FILES) -> None:
    """List the schedulers: order of accuracy, whether they draw noise, evaluations of the network a step, and the
    process and predictions that they take; emnist-diff plugins show NAME says more."""
    heads = ("scheduler", "order", "noise", "evaluations", "process", "predictions", "summary")
    specs = [e.spec for e in with_files(plugin_file).of(SchedulerSpec)]
    rows = [(s.name, s.order, s.noise, s.evaluations, s.process, " ".join(s.predictions), s.summary) for s in specs]
    if as_json:
        typer.echo(json.dumps([dict(zip(heads, row, strict=True)) for row in rows], indent=2))
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
