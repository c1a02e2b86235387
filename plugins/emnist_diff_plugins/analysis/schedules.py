"""The picture of a run's weights over time."""

from __future__ import annotations

import io
from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.assembly.layout import Layout
from emnist_diff.errors import PluginError
from emnist_diff_plugins.analysis.curves import Curve, Panel, panels

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of Okabe and Ito (2008), told apart with any colour vision; yellow is left out, too light for a line."""
_DASHES = ("solid", "dashed", "dashdot", "dotted")
_GREY = "#808080"


@attrs.frozen
class SchedulesPlot:
    """A PNG with one panel each for class directions, settings of forces, and drifts, over the fraction of the run.

    Every step is a stair of its own: a schedule is asked once a step, and holds for it.
    """

    dpi: int = attrs.field(default=120, validator=v.ge(20), metadata={"help": "pixels an inch"})

    def png(self, subject: Layout) -> bytes:
        """The picture. Raises `PluginError` without matplotlib."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise PluginError(
                'drawing needs matplotlib, which is not installed — pip install matplotlib, or "emnist-diff[plots]"'
            ) from error
        found = panels(subject)
        figure = Figure(figsize=(8.0, 0.9 + 2.5 * len(found)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
        for axis, panel in zip(axes, found, strict=True):
            _draw(axis, panel, subject)
        axes[-1].set_xlabel("fraction of the run (0: noise, 1: image)")
        _timesteps(axes[0], subject)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=self.dpi, metadata={"Software": None})
        return out.getvalue()


def _draw(axis: Any, panel: Panel, layout: Layout) -> None:
    steps = len(layout.timeline)
    where = np.array([layout.timeline.at(i).frac for i in range(steps)])
    axis.axhline(0.0, color="#c0c0c0", linewidth=0.8, zorder=0)
    named = 0
    for curve in panel.curves:
        style = _style(curve, named)
        named += not curve.minor and not _is_base(curve)
        axis.plot(where, curve.values, drawstyle="steps-mid", label=curve.label or "_", **style)
        if steps <= 12:  # few enough that single steps can be seen, or only one
            axis.plot(where, curve.values, linestyle="none", marker="o", markersize=4, color=style["color"])
    axis.set_title(panel.title, loc="left", fontsize=10)
    axis.set_ylabel(panel.unit)
    axis.set_xlim(-0.01, 1.01)
    axis.margins(y=0.08)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)


def _is_base(curve: Curve) -> bool:
    return curve.label.startswith("base ")


def _style(curve: Curve, number: int) -> dict[str, Any]:
    """Colour and dashes by number; later lines are thinner, so that one under another still shows."""
    if _is_base(curve):
        return {"color": _GREY, "linestyle": (0, (4, 2)), "linewidth": 1.2}
    if curve.minor:
        return {"color": _GREY, "linestyle": "solid", "linewidth": 0.8}
    dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)] if number >= len(_COLOURS) else "solid"
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": dashes, "linewidth": max(1.2, 2.6 - 0.4 * number)}


def _timesteps(axis: Any, layout: Layout) -> None:
    """A second scale above: training timesteps at a few of the steps."""
    steps = len(layout.timeline)
    chosen = sorted({round(k * (steps - 1) / 4) for k in range(5)})
    above = axis.secondary_xaxis("top")
    above.set_xticks(
        [layout.timeline.at(i).frac for i in chosen], [f"{layout.timeline.at(i).timestep:g}" for i in chosen]
    )
    above.tick_params(labelsize=8)
    above.set_xlabel("training timestep", fontsize=8)
