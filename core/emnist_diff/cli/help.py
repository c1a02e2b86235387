"""Help pages in groups: options under the panels that they name, commands under those that this module gives them.

Panels are Typer's `rich_help_panel`. They are written as plain text, which costs nothing to make, pastes well, and
keeps one shape on every terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_OPTIONS, _ARGUMENTS, LAST = "Options", "Arguments", "Log"
"""What is in no panel; the panel that stands at the end of every page."""

_COLUMN = 30
"""Characters of the left column at most, as Typer has it."""

COMMANDS = {
    "Generate": ("run", "train", "whatif", "replay"),
    "Choose": ("forces", "drifts", "presets", "schedulers", "checkpoint", "plugins"),
    "Look": ("inspect", "plot", "report", "compare", "metrics", "attribution", "export"),
    "Keep": ("verify", "diff", "merge", "pack", "select", "split"),
    "Machine": ("doctor", "bench"),
}
"""The groups of the commands that come with this package, in the order in which a newcomer needs them."""

_OTHERS = "More, from plugins"


def in_order(names: Iterable[str]) -> list[str]:
    """Names of commands, those of `COMMANDS` first and in its order, then the others by the alphabet."""
    known = [name for group in COMMANDS.values() for name in group]
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def write_commands(formatter: Any, summaries: dict[str, str]) -> None:
    """A section for each group that has a command; `summaries` are by name."""
    known = {name: group for group, names in COMMANDS.items() for name in names}
    _write(formatter, ((known.get(name, _OTHERS), (name, summaries[name])) for name in in_order(summaries)))


def write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments first, then a section for each panel of the command's options, in the order of their first options."""
    rows: list[tuple[str, tuple[str, str]]] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            default = _ARGUMENTS if parameter.param_type_name == "argument" else _OPTIONS
            panel = getattr(parameter, "rich_help_panel", None) or default
            rows.append((panel, (_plain(record[0]), record[1])))
    rows.sort(key=lambda row: 0 if row[0] == _ARGUMENTS else 2 if row[0] == LAST else 1)
    _write(formatter, rows)


def _plain(left: str) -> str:
    """An option and what it takes, as a reader has it in mind: ``<list[str]>`` is a ``<str>``, given more than once."""
    left = re.sub(r"<list\[(\w+)\]>", r"<\1>", left)
    return re.sub(r"<(\w+) range>", r"<\1>", left).replace("<str>", "<text>").replace("<Path>", "<path>")


def _write(formatter: Any, rows: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Sections whose right columns begin at the same place."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, row in rows:
        sections.setdefault(section, []).append(row)
    width = min(_COLUMN, max((len(left) for lines in sections.values() for left, _ in lines), default=0))
    for section, lines in sections.items():
        with formatter.section(section):
            (left, right), *rest = lines
            formatter.write_dl([(left.ljust(width), right), *rest])
