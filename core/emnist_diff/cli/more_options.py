"""Command-line options that are only known once plugins have been found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import typer


@attrs.frozen
class Switch:
    """An option that is on, off, or not given.

    name: what it is called.  text: ``--video`` or ``--on/--off``.  also: other texts for the same.
    """

    name: str
    text: str
    help: str
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

    def command() -> None:
        """Typer makes its parameters from a signature, which this one gets."""

    parameters = [
        inspect.Parameter(
            f"{_identifier(switch.name)}_{number}",
            inspect.Parameter.KEYWORD_ONLY,
            default=typer.Option(
                None,
                switch.text,
                *switch.also,
                help=switch.help,
                show_default=False,
                expose_value=False,
                callback=_noted(key, switch),
            ),
            annotation=bool | None,
        )
        for number, switch in enumerate(chosen)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what `inspect` looks for
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    made = typer.Typer(add_completion=False)
    made.command()(command)
    return list(typer.main.get_command(made).params)


def _identifier(name: str) -> str:
    """The first word of a switch's name, as Python writes names: ``sink`` of ``sink video``."""
    return name.split()[0].replace("-", "_")


def _noted(key: str, switch: Switch) -> Callable[..., None]:
    def note(ctx: typer.Context, value: bool | None) -> None:
        if value is not None:
            ctx.meta.setdefault(key, {})[switch.name] = value

    # Typer reads the annotations, which are text in this module, where it cannot see `typer`
    note.__annotations__ = {"ctx": typer.Context, "value": bool | None}
    return note
