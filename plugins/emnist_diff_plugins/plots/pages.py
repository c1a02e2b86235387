"""The pages about one run, and about several."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emnist_diff.errors import ConfigError, TrajectoryError
from emnist_diff.plugins import Registry
from emnist_diff_plugins.pictures import table as mosaic
from emnist_diff_plugins.plots import html, tables
from emnist_diff_plugins.plots.chosen import choose
from emnist_diff_plugins.plots.figure import matplotlib, render
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme
from emnist_diff_plugins.plots.theme import theme as named
from emnist_diff_plugins.sinks._film import mp4
from emnist_diff_trajectory.compare import Comparison
from emnist_diff_trajectory.compare import compare as bit_by_bit

PICTURES = ("class_grid", "denoising_strips")
_SUMS_UP = ("inference_dashboard", "video_summary")
"""What other plots show one by one."""
_CLASSES = 60
_FILMED = 16
_FPS, _FRAMES = 12, 120
_FILM_BYTES = 1 << 25


def report_page(run: Run, registry: Registry, theme: str, video: bool = True) -> str:
    """The page about a run. Raises `PluginError` without matplotlib, `UnknownName` for a theme that is none."""
    appearance = named(theme)
    matplotlib()
    shown, plots, left_out = _drawn(registry, [run], appearance)
    head, rows = tables.by_class(run, _CLASSES)
    parts = [
        html.table(("", ""), tables.summary(run)),
        html.section("Images", html.figures(shown), _video(run) if video else ""),
        html.section("Plots", html.figures(plots), html.paragraph(left_out, "note") if left_out else ""),
        html.section("Figures", html.table(tables.HEAD, tables.spread(run), numbers=True)),
        html.section("By class", html.table(head, rows, numbers=True)),
        html.section(
            "Configuration",
            html.folded(
                "everything that decides the samples", html.table(("", ""), tables.flat(run.trajectory.config).items())
            ),
            html.folded("environment", html.table(("", ""), tables.flat(run.trajectory.environment).items())),
        ),
    ]
    return html.page(f"Run {run.name}", appearance, parts)


def compare_page(runs: Sequence[Run], registry: Registry, theme: str) -> str:
    """The page about two runs or more, the others against the first. Raises as `report_page`."""
    appearance = named(theme)
    matplotlib()
    shown, plots, left_out = _drawn(registry, runs, appearance)
    names = [run.name for run in runs]
    head = ("", *names)
    gaps = ["difference"] if len(runs) == 2 else [f"{name} − {names[0]}" for name in names[1:]]
    what = zip(*(tables.summary(run) for run in runs), strict=True)
    settings = tables.different(*(run.trajectory.config for run in runs))
    machines = tables.different(*(run.trajectory.environment for run in runs))
    parts = [
        html.table(head, [(rows[0][0], *(text for _, text in rows)) for rows in what]),
        html.section(
            "What differs",
            html.table(head, settings) if settings else html.paragraph("The settings are the same."),
            html.folded("environment", html.table(head, machines)) if machines else "",
        ),
        html.section("Figures", html.table((*head, *gaps), tables.beside(runs), numbers=True)),
        html.section("Values", *(_values(runs[0], run, len(runs) > 2) for run in runs[1:])),
        html.section("Images", html.figures(shown)),
        html.section("Plots", html.figures(plots), html.paragraph(left_out, "note") if left_out else ""),
    ]
    return html.page(" and ".join(names) if len(names) == 2 else ", ".join(names), appearance, parts)


def _drawn(registry: Registry, runs: Sequence[Run], appearance: Theme) -> tuple[list[str], list[str], str]:
    """Pictures of images, the plots, and what is left out, as HTML and as a line."""
    chosen = choose(registry, (), runs)
    images: list[str] = []
    plots: list[str] = []
    for name, plot in chosen.drawn.items():
        if name in _SUMS_UP:
            continue
        kind = "png" if name in PICTURES else "svg"
        width, _ = plot.size(runs)
        part = html.image(render(plot, runs, appearance, kind), kind, name.replace("_", " "), width=width)
        (images if name in PICTURES else plots).append(part)
    alone = {name: text for name, text in chosen.left_out.items() if text != "two runs"}
    line = type(chosen)({}, alone).line
    return images, plots, f"Left out: {line}." if line else ""


def _video(run: Run) -> str:
    """A few samples side by side as a film, where PyAV is there and states can be shown."""
    if run.picture_need:
        return ""
    kept = [*run.steps.tolist(), run.trajectory.steps]
    moments = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, _FRAMES).round().astype(int)).tolist()]
    count = max(1, min(_FILMED, _FILM_BYTES // (len(moments) * math.prod(run.trajectory.images.shape[1:]))))
    frames = [run.pictures(position, moments) for position in run.positions[:count].tolist()]
    columns = min(8, len(frames))
    scale = max(1, 480 // (columns * frames[0].shape[2]))
    film = [mosaic(some, columns).repeat(scale, axis=0).repeat(scale, axis=1) for some in zip(*frames, strict=True)]
    try:
        data = mp4([np.ascontiguousarray(image) for image in film], _FPS, _FPS, "libx264", "yuv420p", 20)
    except ConfigError:  # no PyAV, or one without this encoder
        return html.paragraph('A video is here where PyAV is installed: pip install "emnist-diff[video]".', "note")
    return html.video(data, "samples from noise to image")


def _values(one: Run, other: Run, named: bool) -> str:
    """What `emnist-diff diff` says, as a table. named: say which runs these are."""
    of = f"{one.name} and {other.name}: " if named else ""
    try:
        found: Comparison = bit_by_bit(one.trajectory, other.trajectory)
    except TrajectoryError as error:
        return html.paragraph(f"{of}Not compared value by value: {error}")
    verdict = "the same, bit for bit" if found.differences.first is None else "not the same"
    line = html.paragraph(
        f"{of}{found.samples} samples of the same id, {found.differences.values} values compared: {verdict}."
    )
    rows = [
        (field, tables.number(gap), str(place.sample), "" if place.step is None else str(place.step))
        for field, (gap, place) in found.differences.largest.items()
    ]
    head = ("field", "differs by up to", "in sample", "at step")
    notes = [html.paragraph(text, "note") for text in (*found.missing, *found.notes)]
    return "\n".join([line, html.table(head, rows, numbers=True) if rows else "", *notes])
