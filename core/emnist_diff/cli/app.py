"""The Typer app: commands of the core, and those that plugins add."""

from __future__ import annotations

import functools
from typing import Any

import typer
from typer.core import TyperGroup

from emnist_diff import __version__
from emnist_diff.cli.arguments import as_meant
from emnist_diff.cli.help import in_order, write_commands, write_options
from emnist_diff.cli.log_options import add_log_options
from emnist_diff.errors import unknown
from emnist_diff.plugins import Entry, installed, load_factory
from emnist_diff.printable import echo
from emnist_diff.records import CommandSpec


class _Group(TyperGroup):
    """Adds the commands of plugins. Help shows their summaries without importing them; a broken one is an error
    only when it is called."""

    def _entry(self, name: str) -> Entry | None:
        claims = [e for e in installed().of(CommandSpec) if e.spec.name == name]
        return installed().resolve(CommandSpec, name) if claims else None

    def list_commands(self, ctx: Any) -> list[str]:
        return in_order([*super().list_commands(ctx), *(e.spec.name for e in installed().of(CommandSpec))])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        entry = self._entry(cmd_name) if own is None else None
        if entry is not None:
            own = typer.main.get_command(load_factory(entry))
        return None if own is None else as_meant(_dressed(own, cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """What Typer resolves; of a mistyped name, the nearest of all commands, where Typer knows its own alone."""
        name = args[0]
        known = self.list_commands(ctx)
        if name not in known and not ctx.resilient_parsing:
            raise unknown("command", name, known)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_options(self, ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        summaries = {e.spec.name: e.spec.summary for e in installed().of(CommandSpec)}
        for name, command in self.commands.items():
            summaries[name] = command.get_short_help_str(limit=100)
        write_commands(formatter, summaries)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The usage and what this is, then the commands, and the few options last."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_commands(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


_LISTINGS = ("forces", "drifts", "presets", "schedulers", "list", "show", "new", "doctor")
"""Commands that have nothing to log."""


def _dressed(command: Any, name: str) -> Any:
    """A command, its own or a plugin's, with a page in groups and the options of the log; of a group, each command."""
    if name not in _LISTINGS and not hasattr(command, "commands"):
        add_log_options(command)
    command.format_options = functools.partial(write_options, command)
    if hasattr(command, "commands"):
        for own, part in command.commands.items():
            _dressed(part, own)
        command.format_options = functools.partial(_group_options, command)
    return command


def _group_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Typer writes the commands of a group after its options."""
    write_options(command, ctx, formatter)
    command.format_commands(ctx, formatter)


app = typer.Typer(
    name="emnist-diff",
    cls=_Group,
    help="Steer and record diffusion: forces on the score, drifts on the state, every trajectory kept in HDF5.",
    epilog="""\b
First steps:
  emnist-diff run --character A --total-videos 10   then look into output/A/
  emnist-diff run --help                            forces, presets, videos, …
  emnist-diff inspect output/A/trajectory.h5 --sample 0

Exit codes: 0 done, 1 problems found, 2 wrong usage or setting, 3 plugin, 4 checkpoint, 5 trajectory file,
6 run failed, 7 output, 8 dataset, 130 interrupted, 141 the reader of the output went away.
""",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(value: bool) -> None:
    if value:
        echo(f"emnist-diff {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Options before the command."""


# Each of these registers itself on `app`, which must exist first.
from emnist_diff.cli import (  # noqa: E402
    diff,  # noqa: F401
    doctor,  # noqa: F401
    inspect,  # noqa: F401
    merge,  # noqa: F401
    pack,  # noqa: F401
    plugins,  # noqa: F401
    plugins_check,  # noqa: F401
    plugins_new,  # noqa: F401
    replay,  # noqa: F401
    run,  # noqa: F401
    select,  # noqa: F401
    verify,  # noqa: F401
)
