"""Figures without a window, with the same bytes for the same content."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from emnist_diff.errors import PluginError


def new_figure(width: float, height: float) -> Any:
    """An empty figure of this size in inches. Raises `PluginError` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PluginError(
            'drawing needs matplotlib, which is not installed — pip install matplotlib, or "emnist-diff[plots]"'
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Any, dpi: int = 120) -> bytes:
    """The figure as a PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def moments(columns: int, count: int) -> list[int]:
    """At most `count` of the columns, evenly spaced, first and last among them."""
    return sorted({round(i) for i in np.linspace(0, columns - 1, min(columns, count))})


def bare(axis: Any, image: Any, **how: Any) -> Any:
    """An image without ticks or frame."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    return axis.imshow(image, interpolation="nearest", **how)
