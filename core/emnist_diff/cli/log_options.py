"""``--verbose``, ``--quiet`` and ``--log-format`` of every command that logs, its own or a plugin's."""

from __future__ import annotations

from typing import Any

import attrs
import typer

from emnist_diff.cli.help import LAST
from emnist_diff.cli.more_options import options_of
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


_OPTIONS: tuple[tuple[str, tuple[str, ...], bool | str, str], ...] = (
    ("log_verbose", ("--verbose", "-v"), False, "Log debug events too."),
    ("log_quiet", ("--quiet", "-q"), False, "Log only warnings and errors, and show no progress."),
    (
        "log_format",
        ("--log-format",),
        "auto",
        "How to log: human, json or auto (human on a terminal, json elsewhere).",
    ),
)
"""Name, texts, default and help of each."""


def add_log_options(command: Any) -> None:
    """Give a command these options, unless it has them, or options of the same names, already."""
    taken = {text for option in command.params for text in option.opts}
    common: dict[str, Any] = {"rich_help_panel": LAST, "expose_value": False, "callback": _noted}
    for option in options_of((n, type(d), typer.Option(d, *texts, help=h, **common)) for n, texts, d, h in _OPTIONS):
        option.opts = [text for text in option.opts if text not in taken]
        if any(text.startswith("--") for text in option.opts):
            command.params.append(option)


def choices(ctx: Any) -> Any:
    """The `Choices` that the options of this command make."""
    from emnist_diff.cli.logging import Choices

    return ctx.meta.get(_KEY) or Choices()
