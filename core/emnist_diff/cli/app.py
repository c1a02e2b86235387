"""The Typer app: commands of the core, and those that plugins add."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from emnist_diff import __version__
from emnist_diff.errors import Interrupted
from emnist_diff.plugins import Entry, installed, load_factory
from emnist_diff.records import CommandSpec


class _Group(TyperGroup):
    """Adds the commands of plugins. Help shows their summaries without importing them; a broken one is an error
    only when it is called."""

    def invoke(self, ctx: Any) -> Any:
        """Ctrl-C in a command that has nothing to save is said too: Typer itself would stop without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted("stopped") from error

    def _entry(self, name: str) -> Entry | None:
        claims = [e for e in installed().of(CommandSpec) if e.spec.name == name]
        return installed().resolve(CommandSpec, name) if claims else None

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return own + sorted({e.spec.name for e in installed().of(CommandSpec)} - set(own))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = self._entry(cmd_name)
        if entry is None:
            return None
        from emnist_diff.cli.logging import configure

        configure()  # on behalf of plugins, which know nothing of the command line
        return typer.main.get_command(load_factory(entry))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = []
        for name in self.list_commands(ctx):
            own = super().get_command(ctx, name)
            if own is not None:
                rows.append((name, own.get_short_help_str(limit=100)))
            else:
                rows += [(name, e.spec.summary) for e in installed().of(CommandSpec) if e.spec.name == name][:1]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


app = typer.Typer(
    name="emnist-diff",
    cls=_Group,
    help="Steer and record diffusion: forces on the score, drifts on the state, every trajectory kept in HDF5.",
    epilog=(
        "First steps:  emnist-diff run --character A --total-videos 10   then look into output/A/.   "
        "Exit codes: 0 done, 1 problems found, 2 wrong usage or setting, 3 plugin, 4 checkpoint, 5 trajectory file, "
        "6 run failed, 7 output, 8 dataset, 130 interrupted."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"emnist-diff {__version__}")
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
