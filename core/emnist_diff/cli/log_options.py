"""``--verbose``, ``--quiet`` and ``--log-format`` of every command that logs, its own or a plugin's."""

from __future__ import annotations

from typing import Any

import attrs
import typer

from emnist_diff.cli.help import LAST
from emnist_diff.errors import ConfigError, unknown

_KEY = __name__


def _noted(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Take one of the options; it holds at once, so that the command finds a log that is set up."""
    from emnist_diff.cli.logging import FORMATS, Choices, configure

    choices = attrs.evolve(ctx.meta.get(_KEY) or Choices(), **{str(param.name).removeprefix("log_"): value})
    if choices.verbose and choices.quiet:
        raise ConfigError("--verbose and --quiet exclude each other — one says more, the other less")
    if choices.format not in FORMATS:
        raise unknown("log format", choices.format, FORMATS)
    ctx.meta[_KEY] = choices
    configure(choices)


def _options(
    log_verbose: bool = typer.Option(
        False,
        "--verbose",
        "-v",
        help="Log debug events too.",
        rich_help_panel=LAST,
        expose_value=False,
        callback=_noted,
    ),
    log_quiet: bool = typer.Option(
        False,
        "--quiet",
        "-q",
        help="Log only warnings and errors, and show no progress.",
        rich_help_panel=LAST,
        expose_value=False,
        callback=_noted,
    ),
    log_format: str = typer.Option(
        "auto",
        "--log-format",
        help="How to log on stderr: human, json, or auto, which is human on a terminal and json elsewhere.",
        rich_help_panel=LAST,
        expose_value=False,
        callback=_noted,
    ),
) -> None:
    """Typer makes parameters from a signature; this one is for them alone."""


def add_log_options(command: Any) -> None:
    """Give a command these options, unless it has them, or options of the same names, already."""
    taken = {text for option in command.params for text in option.opts}
    made = typer.Typer(add_completion=False)
    made.command()(_options)
    for option in typer.main.get_command(made).params:
        option.opts = [text for text in option.opts if text not in taken]
        if any(text.startswith("--") for text in option.opts):
            command.params.append(option)


def choices(ctx: Any) -> Any:
    """The `Choices` that the options of this command make."""
    from emnist_diff.cli.logging import Choices

    return ctx.meta.get(_KEY) or Choices()
