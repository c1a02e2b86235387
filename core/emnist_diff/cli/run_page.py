"""The options of ``emnist-diff run`` in groups, and those that sinks add."""

from __future__ import annotations

from typing import Any

from emnist_diff.cli.help import LAST
from emnist_diff.cli.sink_switches import SinkSwitches

_SINKS = "Output"
"""Where the switches of sinks stand, after the options that are there."""

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
    _SINKS: ("output", "resume", "overwrite", "dry_run", "as_json", "sink", "save", "fps", "upscale"),
    "Speed": ("batch_size", "micro_batch", "backend", "precision", "device", "threads", "fsync", "user_config"),
    "Several workers": ("distributed", "rank", "world_size"),
    "Settings and plugins": ("config", "plugin_file", "strict_plugins", "help"),
    LAST: ("progress", "dashboard"),
}
"""The names of the options by panel, in the order of the page."""


class RunCommand(SinkSwitches):
    """A command whose options stand in `PANELS`."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The command's own options and those of the sinks, in the order of the page."""
        panels = {name: panel for panel, names in PANELS.items() for name in names}
        order = {name: number for number, name in enumerate(panels)}
        last = order[PANELS[_SINKS][-1]]
        options = super().get_params(ctx)
        for option in options:
            if option.name.startswith("switch_"):
                option.rich_help_panel = _SINKS
            elif option.name in panels:
                option.rich_help_panel = panels[option.name]
        return sorted(options, key=lambda o: last if o.name.startswith("switch_") else order.get(o.name, len(order)))
