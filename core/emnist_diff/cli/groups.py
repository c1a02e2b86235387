"""Groups of commands: every command is a record, found in the registry and imported when it is called."""

from __future__ import annotations

import functools
from typing import Any

import typer
from typer.core import TyperGroup

from emnist_diff.cli.arguments import as_meant
from emnist_diff.cli.help import write_commands, write_options
from emnist_diff.cli.log_options import add_log_options
from emnist_diff.discovery import installed
from emnist_diff.errors import unknown
from emnist_diff.plugins import Entry, load_factory
from emnist_diff.records import CommandSpec


class Subgroup(TyperGroup):
    """A group that has the commands of its own app, and those whose records name it as their group."""

    @property
    def group(self) -> str:
        """What records call this group."""
        return self.name or ""

    def _registered(self) -> list[CommandSpec]:
        """The records of this group, in the order of the page."""
        specs = [e.spec for e in installed().of(CommandSpec) if isinstance(e.spec, CommandSpec)]
        return sorted((s for s in specs if s.group == self.group), key=lambda s: (s.place, s.name))

    def _entry(self, name: str) -> Entry | None:
        if all(spec.name != name for spec in self._registered()):
            return None
        return installed().resolve(CommandSpec, name)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(dict.fromkeys([*super().list_commands(ctx), *(spec.name for spec in self._registered())]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return as_meant(own)
        entry = self._entry(cmd_name)
        return None if entry is None else as_meant(command_of(entry))

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
        own = [("Commands", name, command.get_short_help_str(limit=100)) for name, command in self.commands.items()]
        there = {name for _, name, _ in own}
        write_commands(
            formatter, [*own, *(_row(spec, "Commands") for spec in self._registered() if spec.name not in there)]
        )

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The usage and what this is, then the commands, and the few options last."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_commands(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


class Root(Subgroup):
    """``emnist-diff`` itself, whose commands stand under the sections that their records name."""

    @property
    def group(self) -> str:
        """The records of this group name none."""
        return ""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for _, name, _ in in_sections(self._registered())]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        write_commands(formatter, in_sections(self._registered()))


SECTIONS = ("Generate", "Choose", "Look", "Keep", "Machine")
"""The headings of the page, in the order in which a newcomer needs them; others follow."""

_OTHERS = "More, from plugins"


def in_sections(specs: list[CommandSpec]) -> list[tuple[str, str, str]]:
    """(section, name, summary) of each record, in the order of the page."""
    rows = dict.fromkeys(_row(spec, _OTHERS) for spec in specs)
    order = {section: number for number, section in enumerate(SECTIONS)}
    return sorted(
        rows, key=lambda row: (row[0] == _OTHERS, order.get(row[0], len(order)), row[0] if row[0] not in order else "")
    )


def _row(spec: CommandSpec, otherwise: str) -> tuple[str, str, str]:
    return spec.section or otherwise, spec.name, spec.summary


def command_of(entry: Entry) -> Any:
    """The command that a record names, with a page in groups and, where it logs, the options of the log."""
    factory, spec = load_factory(entry), entry.spec
    if not isinstance(factory, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(spec.name)(factory)
        factory = app
    command = typer.main.get_command(factory)
    command.name = spec.name
    return _dressed(command, logs=not isinstance(spec, CommandSpec) or spec.logs)


def _dressed(command: Any, logs: bool) -> Any:
    """A command with a page in groups and the options of the log; of a group, each command."""
    if isinstance(command, TyperGroup):
        for part in command.commands.values():
            _dressed(part, logs)
    elif logs:
        add_log_options(command)
    if not isinstance(command, Subgroup):  # which writes a page of its own
        write = _group_options if isinstance(command, TyperGroup) else write_options
        command.format_options = functools.partial(write, command)
    return command


def _group_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Typer writes the commands of a group after its options; on this page they stand before the epilog."""
    write_options(command, ctx, formatter)
    command.format_commands(ctx, formatter)
