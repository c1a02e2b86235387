"""The page of ``emnist-diff run``: its options in groups, and those that plugins bring: ``--save-video/--no-video`` for
every sink that has a flag, ``--no-NAME`` for every layer of settings, ``--NAME`` for every display."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

from emnist_diff.config import OUTPUT, PANELS, SPEED
from emnist_diff.discovery import installed
from emnist_diff_plugins.commands.switches import Switch, switch_options
from emnist_diff_plugins.contract import DisplaySpec, LayerSpec
from emnist_diff_plugins.terminal.help import LAST

SETTINGS = "Settings and plugins"
ORDER = (*PANELS, SETTINGS, LAST)
"""The headings in the order of the page."""

_KEY = __name__


class RunCommand(TyperCommand):
    """A command with these options; `switches`, `displays_requested` and `layers_left_out` say which were given."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options and those of sinks, layers and displays, in the order of the page; the options of
        the log are the last."""
        own = super().get_params(ctx)
        options = [*own, *switch_options(own, [*_of_sinks(), *_of_layers(), *_of_displays()], _KEY)]
        for option in options:
            option.rich_help_panel = SETTINGS if option.name == "help" else option.rich_help_panel
        return sorted(options, key=lambda o: (ORDER.index(o.rich_help_panel), str(o.name).startswith("log_")))


def _of_sinks() -> Iterator[Switch]:
    from emnist_diff_plugins.shorthands import flags

    for flag, spec in flags(installed()).items():
        yield Switch(
            f"sink {flag}",
            f"--save-{spec.name}/--no-{spec.name}",
            f"Sink {spec.name}: {spec.summary}. [default: {'on' if spec.default else 'off'}]",
            OUTPUT,
            also=() if flag == spec.name else (f"--save-{flag}/--no-{flag}",),
        )


def _of_layers() -> Iterator[Switch]:
    for spec in (entry.spec for entry in installed().of(LayerSpec)):
        text = f"--{spec.name}/--no-{spec.name}"
        yield Switch(f"layer {spec.name}", text, f"{spec.summary}. [default: {spec.name}]", SPEED)


def _of_displays() -> Iterator[Switch]:
    for spec in (entry.spec for entry in installed().of(DisplaySpec)):
        if not spec.default:
            yield Switch(f"display {spec.name}", f"--{spec.name}", f"{spec.summary}.", LAST)


def _given(ctx: Any, kind: str) -> dict[str, bool]:
    """What was given of the switches of a kind, by the name after it."""
    given: dict[str, bool] = ctx.meta.get(_KEY, {})
    return {name.removeprefix(f"{kind} "): on for name, on in given.items() if name.startswith(f"{kind} ")}


def switches(ctx: Any) -> dict[str, bool]:
    """The flags of sinks that were given, and whether each switches its sink on."""
    return _given(ctx, "sink")


def displays_requested(ctx: Any) -> list[str]:
    """The displays that were requested, by name."""
    return list(_given(ctx, "display"))


def layers_left_out(ctx: Any) -> set[str]:
    """The layers of settings that were switched off, by name."""
    return {name for name, on in _given(ctx, "layer").items() if not on}
