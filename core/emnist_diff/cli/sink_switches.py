"""``--save-video/--no-video`` and its like: an option of ``emnist-diff run`` for every sink that has a flag."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from emnist_diff.more_options import Switch, more_options
from emnist_diff.plugins import installed

_KEY = __name__


class SinkSwitches(TyperCommand):
    """A command with these options; `switches` says which were given."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options, and those of the sinks."""
        from emnist_diff.shorthands import flags

        options = [
            Switch(
                flag,
                f"--save-{spec.name}/--no-{spec.name}",
                f"Sink {spec.name}: {spec.summary}. [default: {'on' if spec.default else 'off'}]",
                also=() if flag == spec.name else (f"--save-{flag}/--no-{flag}",),
            )
            for flag, spec in flags(installed()).items()
        ]
        own = super().get_params(ctx)
        return [*own, *more_options(own, options, _KEY)]


def switches(ctx: Any) -> dict[str, bool]:
    """The flags that were given, and whether each switches its sink on."""
    return dict(ctx.meta.get(_KEY, {}))
