"""``emnist-diff plugins check``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import typer

from emnist_diff.errors import ConfigError
from emnist_diff_trajectory.printing import echo

if TYPE_CHECKING:
    from emnist_diff.plugins import Broken
    from emnist_diff_testing.distributions import Checked


def check(
    ctx: typer.Context,
    distribution: str | None = typer.Argument(
        None, metavar="[DIST]", help="An installed distribution, e.g. my-forces; not needed for one plugin file."
    ),
    component: list[str] = typer.Option([], "--component", help="Only the component of this name; may be repeated."),
    strict: bool = typer.Option(False, "--strict", help="Count warnings as problems."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    plugin_file: list[Path] = typer.Option(
        [], "--plugin-file", help="A Python file with plugins of your own; may be repeated."
    ),
) -> None:
    """Check all that a distribution offers against the rules of its kinds.

    Shapes, determinism, independence of the batch, settings that can be written down, and so on;
    docs/testing-plugins.md lists them. Runs the code of the plugin. Exit code 1 when something breaks a rule, or when
    there is nothing to check.
    """
    if distribution is None:
        if len(plugin_file) != 1:
            raise ConfigError("name a distribution, or one plugin file with --plugin-file")
        distribution = plugin_file[0].name

    from emnist_diff.errors import unknown
    from emnist_diff_plugins.pluginfiles import with_files
    from emnist_diff_plugins.terminal.logging import configure
    from emnist_diff_plugins.terminal.program import log_choices
    from emnist_diff_testing.distributions import as_data, checked, only

    configure(attrs.evolve(log_choices(ctx), tap=_only_trouble))
    everything = with_files(plugin_file)
    found = only(distribution, everything)
    entries = sorted(found.entries, key=lambda entry: (entry.spec.kind, entry.spec.name))
    for name in component:
        if name not in {entry.spec.name for entry in entries}:
            raise unknown(f"component of {distribution}", name, {entry.spec.name for entry in entries})
    results = [checked(entry, everything) for entry in entries if not component or entry.spec.name in component]
    wrong = bool(found.broken) or not results or any(item.findings if strict else item.broken for item in results)
    if as_json:
        typer.echo(json.dumps(as_data(distribution, results, found.broken), indent=2))
    else:
        _tell(results, found.broken)
        if not results and not found.broken:
            echo(f"{distribution} registers nothing")
    if wrong:
        raise typer.Exit(1)


def _tell(results: list[Checked], broken: tuple[Broken, ...]) -> None:
    width = max((len(_title(item)) for item in results), default=0)
    for item in results:
        warnings = len(item.findings) - len(item.broken)
        parts = [f"{item.rules} rules"]
        parts += [f"{item.models - len(item.refused)} of {item.models} models"] if item.refused else []
        parts += [f"{len(item.broken)} broken"] if item.broken else []
        parts += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
        echo(f"{'FAILED' if item.broken else 'ok':<6}  {_title(item):<{width}}  {', '.join(parts)}")
        for finding in item.findings:
            echo(f"        {'warning: ' if finding.warning else ''}{finding.rule.name}: {finding.rule.says}")
            echo(f"            {finding.message}")
            echo(f"            why: {finding.rule.because}")
    for bad in broken:
        echo(f"FAILED  {f'{bad.distribution} {bad.version}'.rstrip()} [{bad.plugin}]: {bad.error}")


def _title(item: Checked) -> str:
    return f"{item.entry.spec.kind} {item.entry.spec.name}"


def _only_trouble(logger: Any, method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Many runs are made here, and what they say of their progress is nobody's business."""
    if method in ("debug", "info"):
        import structlog

        raise structlog.DropEvent
    return event
