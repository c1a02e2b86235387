"""Which plots are drawn of which runs: those asked for, or all that can be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError
from emnist_diff.plugins import Registry
from emnist_diff_plugins import parse
from emnist_diff_plugins.contract import PlotSpec
from emnist_diff_plugins.exporting.decoder import FileDecoder
from emnist_diff_plugins.plots.pairs import attention_of, paired
from emnist_diff_plugins.plots.plot import Plot
from emnist_diff_plugins.plots.runs import Run, shown
from emnist_diff_plugins.runconfig import normalised, resolve
from emnist_diff_trajectory.reader import Trajectory


@attrs.frozen(eq=False)
class Chosen:
    """Plots by name, in the order in which they are shown.

    drawn: those that can be drawn.  left_out: of each of the others, what it needs.
    """

    drawn: dict[str, Plot]
    left_out: dict[str, str]

    @property
    def line(self) -> str:
        """What the others need, in one line; empty where there are none."""
        reasons: dict[str, list[str]] = {}
        for name, lacking in self.left_out.items():
            reasons.setdefault(lacking, []).append(name)
        return "; ".join(f"{', '.join(names)}: needs {lacking}" for lacking, names in reasons.items())


def open_runs(stack: ExitStack, files: Sequence[Path], registry: Registry, checkpoint: str | None = None) -> list[Run]:
    """The files, open as long as `stack`, with names that tell them apart. That of what was captured from a run stands
    for the run's own file where this is beside it.

    registry, checkpoint: where the codec of states that are no pictures is looked for, see `rebuild.decoder`.
    Raises `ConfigError` for a file named twice, `TrajectoryError` for one that cannot be shown.
    """
    pairs = list(map(paired, files))
    paths = [Path(os.path.realpath(file)) for file, _ in pairs]
    if len(set(paths)) < len(paths):
        raise ConfigError("a file is named twice — name each once")
    runs = []
    for (file, captured), name in zip(pairs, names(paths), strict=True):
        trajectory = stack.enter_context(Trajectory(file))
        attended = attention_of(stack, trajectory, captured)
        runs.append(Run(trajectory, name, FileDecoder(trajectory, registry, checkpoint), attended))
    return runs


def names(paths: Sequence[Path]) -> list[str]:
    """Short names that tell files apart: the last part of their paths without what the ends of all have in common,
    or the last two; numbered where that is not enough, or too long for a legend."""
    parts = [path.with_suffix("").parts for path in paths]
    if len(paths) > 1:
        while len({part[-1] for part in parts}) == 1 and min(map(len, parts)) > 1:
            parts = [part[:-1] for part in parts]
    short = [part[-1] for part in parts]
    for candidate in (short, ["/".join(part[-2:]) for part in parts]):
        if len({shown(name) for name in candidate}) == len(candidate):
            return candidate
    return [f"{number}: {name}" for number, name in enumerate(short, 1)]


def choose(registry: Registry, requests: Sequence[str], runs: Sequence[Run]) -> Chosen:
    """The plots of `requests`, each ``name`` or ``name:key=value``; all installed ones where there are no requests.

    Raises `UnknownName`, `PluginError` or `ConfigError` for a name or setting that is none.
    """
    plots = _requested(registry, requests) if requests else _all(registry)
    lacking = {name: plot.lacks(runs) for name, plot in plots.items()}
    drawn = {name: plot for name, plot in plots.items() if not lacking[name]}
    return Chosen(drawn, {name: text for name, text in lacking.items() if text})


def _requested(registry: Registry, requests: Sequence[str]) -> dict[str, Plot]:
    out: dict[str, Plot] = {}
    for text in requests:
        item = _component(parse.component(text, "--plot"))
        entry = registry.resolve(PlotSpec, item.name)
        if entry.spec.of != "trajectories":
            raise ConfigError(f"plot {item.name!r} is not of recorded runs — it is drawn by run --plot-schedules")
        plot = make(registry, PlotSpec, item)
        if plot.name in out:
            raise ConfigError(f"plot {plot.name!r} is given twice")
        out[plot.name] = plot.object
    return out


def _component(data: Mapping[str, Any]) -> ComponentConfig:
    """A component as people type it. What sinks say in configurations, plots say alike."""
    (item,) = resolve({"sinks": normalised({"sinks": [dict(data)]})["sinks"]}).sinks or ()
    return item


def _all(registry: Registry) -> dict[str, Plot]:
    """Every plot of recorded runs, in the order in which the plugins name them."""
    specs = [(e, e.spec) for e in registry.entries if isinstance(e.spec, PlotSpec) and e.spec.of == "trajectories"]
    return {spec.name: make(registry, PlotSpec, ComponentConfig(entry.qualified)).object for entry, spec in specs}
