"""A plot as the bytes of a file: the same bytes for the same runs, whatever the user's matplotlib is set to."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

from emnist_diff.errors import PluginError
from emnist_diff_plugins.plots.plot import Plot
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

FORMATS = ("png", "svg", "pdf")
_NO_DATES: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def matplotlib() -> Any:
    """The drawing library. Raises `PluginError` where it is missing."""
    try:
        import matplotlib.figure
        import matplotlib.style
    except ImportError as error:
        raise PluginError(
            'drawing needs matplotlib, which is not installed — pip install "emnist-diff[plots]"'
        ) from error
    return matplotlib


def render(plot: Plot, runs: Sequence[Run], theme: Theme, format: str = "png") -> bytes:
    """Draw a plot that lacks nothing, as a ``png``, ``svg`` or ``pdf``. Raises `PluginError` without matplotlib."""
    library = matplotlib()
    width, height = plot.size(runs)
    out = io.BytesIO()
    with library.style.context(["default", theme.rc]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # in names of classes: a box is drawn
        figure = library.figure.Figure(figsize=(width * theme.column, height * theme.column), layout="constrained")
        plot.draw(figure, runs, theme)
        figure.savefig(out, format=format, dpi=theme.dpi, metadata=_NO_DATES[format])
    return out.getvalue()
