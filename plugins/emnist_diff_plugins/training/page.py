"""The options of ``emnist-diff train`` in groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

PANELS = {
    "Data": ("data", "dataset", "split", "only"),
    "Network": ("network", "codec", "init_from"),
    "Optimisation": (
        *("epochs", "batch_size", "lr", "lr_schedule", "warmup_steps", "weight_decay", "clip_norm"),
        *("ema_decay", "seed"),
    ),
    "Objective": ("objective", "label_dropout"),
    "Output": (
        *("output", "resume", "recommend", "provenance", "half", "keep", "save_minutes"),
        *("experiment", "sample_every", "sample_every_steps", "tensorboard"),
        *("dry_run", "as_json"),
    ),
    "Speed": ("precision", "device", "threads", "max_minutes"),
    "Settings": ("config", "help"),
    "Log": ("progress",),
}
"""The names of the options by panel, in the order of the page; the options of the log are in the last one already."""


class TrainCommand(TyperCommand):
    """A command whose options stand in `PANELS`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As without it, but ``--experiment`` may stand alone."""
        alone = "--experiment"
        filled = list(args)
        for number in reversed([i for i, argument in enumerate(args) if argument == alone]):
            if number + 1 == len(args) or args[number + 1].startswith("-"):
                filled.insert(number + 1, "")
        return super().parse_args(ctx, filled)

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options, in the order of the page."""
        panels = {name: panel for panel, names in PANELS.items() for name in names}
        order = {name: number for number, name in enumerate(panels)}
        options: list[Any] = super().get_params(ctx)  # Typer's own parameters, which have a panel
        for option in options:
            if option.name in panels:
                option.rich_help_panel = panels[option.name]
        return sorted(options, key=lambda option: order.get(option.name, -1))
