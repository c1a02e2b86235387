"""The program and its groups of commands, whose commands have the options of the log."""

from __future__ import annotations

from typing import Any

import attrs
import typer

from emnist_diff.errors import ConfigError, unknown
from emnist_diff_plugins.terminal.commands import Group
from emnist_diff_plugins.terminal.help import LAST

_LOG_CHOICES = __name__


class Program(Group):
    """A `Group` whose commands have ``--verbose``, ``--quiet`` and ``--log-format``, unless their records say that they
    do not log."""

    def add_options(self, command: Any) -> None:
        """Give a command these options, unless it has them, or options of the same names, already."""
        taken = {text for option in command.params for text in option.opts}
        app = typer.Typer(add_completion=False)
        app.command()(_log_options)
        for option in typer.main.get_command(app).params:
            option.opts = [text for text in option.opts if text not in taken]
            if any(text.startswith("--") for text in option.opts):
                command.params.append(option)


def _choose_log(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    """Take one of the log's options; it holds at once, so that the command finds a log that is set up."""
    from emnist_diff_plugins.terminal.logging import FORMATS, configure

    choices = attrs.evolve(log_choices(ctx), **{str(param.name).removeprefix("log_"): value})
    if choices.verbose and choices.quiet:
        raise ConfigError("--verbose and --quiet exclude each other — one says more, the other less")
    if choices.format not in FORMATS:
        raise unknown("log format", choices.format, FORMATS)
    ctx.meta[_LOG_CHOICES] = choices
    configure(choices)


_LOG: dict[str, Any] = {"rich_help_panel": LAST, "expose_value": False, "callback": _choose_log}


def _log_options(
    log_verbose: bool = typer.Option(False, "--verbose", "-v", help="Log debug events too.", **_LOG),
    log_quiet: bool = typer.Option(
        False, "--quiet", "-q", help="Log only warnings and errors, and show no progress.", **_LOG
    ),
    log_format: str = typer.Option(
        "auto", help="How to log: human, json or auto (human on a terminal, json elsewhere).", **_LOG
    ),
) -> None:
    """The options of every command that logs; Typer reads the signature."""


def log_choices(ctx: Any) -> Any:
    """The `logging.Choices` that the options of this command make."""
    from emnist_diff_plugins.terminal.logging import Choices

    return ctx.meta.get(_LOG_CHOICES) or Choices()
