"""Command-line options that are only known once plugins have been found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import typer


@attrs.frozen
class Switch:
    """An option that is on, off, or not given.

    name: what it is called.  text: ``--video`` or ``--on/--off``.  panel: its heading on the help page.
    also: other texts for the same.
    """

    name: str
    text: str
    help: str
    panel: str = "Options"
    also: tuple[str, ...] = ()


def more_options(own: Iterable[Any], switches: Iterable[Switch], key: str) -> list[Any]:
    """Parameters for a command that has `own` already; of switches with a text that is taken there is none,
    and of their other texts there are those that are free.

    What was given is noted in ``ctx.meta[key]``, by name.
    """
    taken = {text for option in own for text in (*option.opts, *option.secondary_opts)}
    chosen = []
    for switch in switches:
        if not set(switch.text.split("/")) & taken:
            free = tuple(text for text in switch.also if not set(text.split("/")) & taken)
            chosen.append(attrs.evolve(switch, also=free))
            taken |= {part for text in (switch.text, *free) for part in text.split("/")}

    return options_of(
        (
            f"switch_{number}",
            bool | None,
            typer.Option(
                None,
                switch.text,
                *switch.also,
                help=switch.help,
                rich_help_panel=switch.panel,
                show_default=False,
                expose_value=False,
                callback=_noted(key, switch),
            ),
        )
        for number, switch in enumerate(chosen)
    )


def options_of(declared: Iterable[tuple[str, Any, Any]]) -> list[Any]:
    """The options that Typer makes of parameters: of each the name, the type, and what `typer.Option` gives."""

    def command() -> None:
        """Typer reads a signature."""

    keyword = inspect.Parameter.KEYWORD_ONLY
    sign(command, [inspect.Parameter(name, keyword, default=o, annotation=kind) for name, kind, o in declared])
    made = typer.Typer(add_completion=False)
    made.command()(command)
    return list(typer.main.get_command(made).params)


def sign(command: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    """Give a command the signature that Typer is to see."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what `inspect` looks for
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _noted(key: str, switch: Switch) -> Callable[..., None]:
    def note(ctx: typer.Context, value: bool | None) -> None:
        if value is not None:
            ctx.meta.setdefault(key, {})[switch.name] = value

    # Typer reads the annotations, which are text in this module, where it cannot see `typer`
    note.__annotations__ = {"ctx": typer.Context, "value": bool | None}
    return note
