"""The options of ``emnist-diff run`` in groups, and those that plugins add."""

from __future__ import annotations

from typing import Any

from emnist_diff.cli.help import LAST
from emnist_diff.cli.sink_switches import PluginSwitches

_SWITCHES = {"sink": "Output", "layer": "Speed", "display": LAST}
"""Where the switches of plugins stand, by kind, after the options that are there."""

PANELS = {
    "Generation": (
        *("character", "total_videos", "per_character", "seed", "steps", "scheduler"),
        *("guidance_scale", "base"),
    ),
    "Model": ("checkpoint", "epoch", "denoiser", "guide"),
    "Forces and drifts": (
        *("preset", "preset_args", "force", "force_stack", "clip_abs", "clip_norm", "drift", "drift_scale"),
        "plot_schedules",
    ),
    "Output": ("output", "resume", "overwrite", "dry_run", "as_json", "sink", "save", "fps", "upscale"),
    "Speed": ("batch_size", "micro_batch", "backend", "precision", "device", "threads", "fsync"),
    "Several workers": ("distributed", "rank", "world_size"),
    "Settings and plugins": ("config", "plugin_file", "strict_plugins", "help"),
    LAST: ("progress",),
}
"""The names of the options by panel, in the order of the page."""


class RunCommand(PluginSwitches):
    """A command whose options stand in `PANELS`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options and those of plugins, in the order of the page."""
        panels = {name: panel for panel, names in PANELS.items() for name in names}
        order = {name: number for number, name in enumerate(panels)}
        options = super().get_params(ctx)
        places = {}
        for option in options:
            panel = next((_SWITCHES[kind] for kind in _SWITCHES if option.name.startswith(f"{kind}_")), "")
            if panel:
                places[option.name] = order[PANELS[panel][-1]]
            panel = panel or panels.get(option.name, "")
            if panel:
                option.rich_help_panel = panel
        return sorted(options, key=lambda o: places.get(o.name, order.get(o.name, len(order))))
