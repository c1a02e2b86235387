"""Help pages in sections: options under the panels that they name, commands under the sections of their records.

Panels are Typer's `rich_help_panel`. They are written as plain text, which costs nothing to make, pastes well, and
keeps one shape on every terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol, TextIO, runtime_checkable

_OPTIONS, _ARGUMENTS, LAST = "Options", "Arguments", "Log"
"""What is in no panel; the panel that stands at the end of every page."""

_COLUMN = 30
"""Characters of the left column at most, as Typer has it."""


@runtime_checkable
class UsageError(Protocol):
    """What Typer raises for a command line that it cannot read; it has no public name for it."""

    exit_code: int

    def show(self, file: TextIO) -> None:
        """Write the usage of the command, and what is wrong."""


def write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments first, then a section for each panel of the command's options, in the order of their first options."""
    rows: list[tuple[str, str, str]] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            default = _ARGUMENTS if parameter.param_type_name == "argument" else _OPTIONS
            rows.append((vars(parameter).get("rich_help_panel") or default, _plain(record[0]), record[1]))
    rows.sort(key=lambda row: 0 if row[0] == _ARGUMENTS else 2 if row[0] == LAST else 1)
    write_rows(formatter, rows)


def _plain(left: str) -> str:
    """An option and what it takes, as a reader has it in mind: ``<list[str]>`` is a ``<str>``, given more than once."""
    left = re.sub(r"<list\[(\w+)\]>", r"<\1>", left)
    return re.sub(r"<(\w+) range>", r"<\1>", left).replace("<str>", "<text>").replace("<Path>", "<path>")


def write_rows(formatter: Any, rows: Iterable[tuple[str, str, str]]) -> None:
    """A section for each (section, name, summary), in their order; the right columns of all begin at one place."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for section, left, right in rows:
        sections.setdefault(section, []).append((left, right))
    width = min(_COLUMN, max((len(left) for lines in sections.values() for left, _ in lines), default=0))
    for section, lines in sections.items():
        with formatter.section(section):
            (left, right), *rest = lines
            formatter.write_dl([(left.ljust(width), right), *rest])
