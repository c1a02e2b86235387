"""Options of ``emnist-diff run`` that plugins bring: ``--save-video/--no-video`` for every sink that has a flag,
``--no-NAME`` for every layer of settings, ``--NAME`` for every display."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

from emnist_diff.cli.more_options import Switch, more_options
from emnist_diff.discovery import installed
from emnist_diff.records import DisplaySpec, LayerSpec

_KEY = __name__


class PluginSwitches(TyperCommand):
    """A command with these options; `switches`, `displays_asked` and `layers_left_out` say which were given."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options, and those of sinks, layers and displays."""
        own = super().get_params(ctx)
        return [*own, *more_options(own, [*_of_sinks(), *_of_layers(), *_of_displays()], _KEY)]


def _of_sinks() -> Iterator[Switch]:
    from emnist_diff.shorthands import flags

    for flag, spec in flags(installed()).items():
        yield Switch(
            f"sink {flag}",
            f"--save-{spec.name}/--no-{spec.name}",
            f"Sink {spec.name}: {spec.summary}. [default: {'on' if spec.default else 'off'}]",
            also=() if flag == spec.name else (f"--save-{flag}/--no-{flag}",),
        )


def _of_layers() -> Iterator[Switch]:
    for spec in (entry.spec for entry in installed().of(LayerSpec)):
        yield Switch(f"layer {spec.name}", f"--{spec.name}/--no-{spec.name}", f"{spec.summary}. [default: {spec.name}]")


def _of_displays() -> Iterator[Switch]:
    for spec in (entry.spec for entry in installed().of(DisplaySpec)):
        if isinstance(spec, DisplaySpec) and not spec.default:
            yield Switch(f"display {spec.name}", f"--{spec.name}", f"{spec.summary}.")


def _given(ctx: Any, kind: str) -> dict[str, bool]:
    """What was given of the switches of a kind, by the name after it."""
    given: dict[str, bool] = ctx.meta.get(_KEY, {})
    return {name.removeprefix(f"{kind} "): on for name, on in given.items() if name.startswith(f"{kind} ")}


def switches(ctx: Any) -> dict[str, bool]:
    """The flags of sinks that were given, and whether each switches its sink on."""
    return _given(ctx, "sink")


def displays_asked(ctx: Any) -> list[str]:
    """The displays that were asked for, by name."""
    return list(_given(ctx, "display"))


def layers_left_out(ctx: Any) -> set[str]:
    """The layers of settings that were switched off, by name."""
    return {name for name, on in _given(ctx, "layer").items() if not on}
