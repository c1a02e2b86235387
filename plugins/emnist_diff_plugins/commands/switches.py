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

    name: the key of what was given.  text: ``--video`` or ``--on/--off``.  panel: its heading on the help page.
    also: other texts for the same.
    """

    name: str
    text: str
    help: str
    panel: str = "Options"
    also: tuple[str, ...] = ()


def switch_options(own: Iterable[Any], switches: Iterable[Switch], key: str) -> list[Any]:
    """Parameters for a command that has `own` already; of switches with a text that is taken there is none,
    and of their other texts there are those that are free.

    What was given is noted in ``ctx.meta[key]``, by name.
    """
    taken = {text for option in own for text in (*option.opts, *option.secondary_opts)}
    parameters = []
    for number, switch in enumerate(switches):
        if not set(switch.text.split("/")) & taken:
            texts = (switch.text, *(text for text in switch.also if not set(text.split("/")) & taken))
            taken |= {part for text in texts for part in text.split("/")}
            option = typer.Option(
                None,
                *texts,
                help=switch.help,
                rich_help_panel=switch.panel,
                show_default=False,
                expose_value=False,
                callback=_noting(key, switch.name),
            )
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(f"switch_{number}", keyword, default=option, annotation=bool | None))

    def command() -> None:
        """Typer reads a signature."""

    sign(command, parameters)
    app = typer.Typer(add_completion=False)
    app.command()(command)
    return list(typer.main.get_command(app).params)


def sign(command: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> None:
    """Give a command the signature that Typer is to see."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what `inspect` looks for
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}


def _noting(key: str, name: str) -> Callable[..., None]:
    """The callback of an option, which notes its value under a name."""

    def note(ctx: typer.Context, value: bool | None) -> None:
        if value is not None:
            ctx.meta.setdefault(key, {})[name] = value

    # Typer reads the annotations, which are text in this module, where it cannot see `typer`
    note.__annotations__ = {"ctx": typer.Context, "value": bool | None}
    return note
