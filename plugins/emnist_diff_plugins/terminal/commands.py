"""Groups of commands, and commands made from records: each is imported when it is called, and gets what all of them
have: a help page in sections, paths with homes written out, and the options that its program adds."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import typer
from typer.core import TyperGroup

from emnist_diff.discovery import installed
from emnist_diff.errors import unknown
from emnist_diff.paths import local_path
from emnist_diff.plugins import Entry, load_factory
from emnist_diff_plugins.terminal.help import write_options, write_rows
from emnist_diff_trajectory.contract import CommandSpec
from emnist_diff_trajectory.names import typed

PROGRAM = "emnist-diff"
SECTIONS = ("Generate", "List", "Analyse", "Trajectory files", "Machine")
"""The headings of the program's page, in the order in which a newcomer needs them; others follow."""

_OTHERS = "More, from plugins"
_COMMANDS = "Commands"


class Group(TyperGroup):
    """The program, or a group of its commands: those of its own app, and those whose records name the group; the
    commands of the program name none."""

    def add_options(self, command: Any) -> None:
        """Give a command whose record says that it logs the options of a log. A program that has one overrides this."""

    def _registered(self) -> list[Entry[CommandSpec]]:
        """The commands of this group."""
        group = "" if self.name == PROGRAM else self.name
        return [entry for entry in installed().of(CommandSpec) if entry.spec.group == group]

    def _rows(self) -> list[tuple[str, str, str]]:
        """(section, name, summary) of each command, in the order of the page."""
        own = [(_COMMANDS, name, command.get_short_help_str(limit=100)) for name, command in self.commands.items()]
        specs = sorted((entry.spec for entry in self._registered()), key=lambda spec: (spec.place, spec.name))
        default = _OTHERS if self.name == PROGRAM else _COMMANDS
        others = [(s.section or default, s.name, s.summary) for s in specs if s.name not in self.commands]
        order = {section: number for number, section in enumerate(SECTIONS)}
        return sorted(
            dict.fromkeys([*own, *others]), key=lambda row: (row[0] == _OTHERS, order.get(row[0], len(order)), row[0])
        )

    def _named(self, name: str) -> Entry[CommandSpec]:
        """The registered command of this name. Raises as `Registry.resolve`."""
        return attrs.evolve(installed(), entries=tuple(self._registered())).resolve(CommandSpec, name)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(dict.fromkeys(name for _, name, _ in self._rows()))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands or cmd_name not in self.list_commands(ctx):
            return super().get_command(ctx, cmd_name)
        return _command(self._named(cmd_name), self.add_options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """What Typer resolves; of a mistyped name, the nearest of all commands, where Typer knows its own alone."""
        known = self.list_commands(ctx)
        if args[0] not in known and not ctx.resilient_parsing:
            raise unknown("command", args[0], known)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The usage and what this is, then the commands, and the few options last."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        write_rows(formatter, self._rows())
        write_options(self, ctx, formatter)
        self.format_epilog(ctx, formatter)


def _command(entry: Entry[CommandSpec], add_options: Callable[[Any], None]) -> Any:
    """The command, or the group of commands, that a record names."""
    app, spec = load_factory(entry), entry.spec
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(spec.name)(function)
    command = typer.main.get_command(app)
    command.name = spec.name
    _equip(command, add_options if spec.logs else None)
    return command


def _equip(command: Any, add_options: Callable[[Any], None] | None) -> None:
    """Give a command, or each of a group, the page in sections, further options, and arguments as meant."""
    write = write_options
    if isinstance(command, TyperGroup):
        write = _write_group
        for part in command.commands.values():
            _equip(part, add_options)
    elif add_options is not None:
        add_options(command)
    for parameter in command.params:
        if hasattr(parameter.type, "readable"):  # whoever opens it says in one line what the system refuses
            parameter.type.readable = False
    if command.callback is not None:
        command.callback = _with_meant_arguments(command.callback)
    command.format_options = functools.partial(write, command)


def _write_group(command: Any, ctx: Any, formatter: Any) -> None:
    """The options of a group that registers its commands itself, then those commands."""
    write_options(command, ctx, formatter)
    command.format_commands(ctx, formatter)


def _with_meant_arguments(callback: Callable[..., Any]) -> Callable[..., Any]:
    """A command's function, whose paths have homes written out, see `paths.local_path`, for a shell leaves the ``~`` of
    ``--config=~/run.toml`` as it is, and whose other texts are decoded, see `names.typed`."""
    paths = {name for name, p in inspect.signature(callback).parameters.items() if "Path" in str(p.annotation)}

    @functools.wraps(callback)
    def call(*arguments: Any, **options: Any) -> Any:
        meant = {name: _each(local_path if name in paths else typed, value) for name, value in options.items()}
        return callback(*arguments, **meant)

    return call


def _each(meaning: Callable[[Any], str], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_each(meaning, item) for item in value)
    return type(value)(meaning(value)) if isinstance(value, str | Path) else value
