"""How plots look: colours that are told apart with any colour vision, fonts that come with matplotlib."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff.errors import unknown

_FIXED = {
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 4),
    "grid.linewidth": 0.5,
    "text.parse_math": False,  # names of classes are no formulas
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": True,  # what lies under one stays legible, and so does the legend
    "legend.fancybox": False,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.75,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.3,
    "lines.linewidth": 1.4,
    "svg.hashsalt": "emnist-diff",
    "pdf.fonttype": 42,
    "hatch.linewidth": 0.5,
}
"""What all themes have in common of matplotlib's settings."""


@attrs.frozen
class Theme:
    """Colours, type and measures of a plot.

    figure, axes: backgrounds.  text, muted, grid: of labels, of what stands back, of grid lines.
    cycle: of things told apart, in order; each also has its own dashes, so that grey print shows them too.
    column: inches, the width that a plot of one column has.  dpi: of PNG.
    """

    name: str
    figure: str
    axes: str
    text: str
    muted: str
    grid: str
    cycle: tuple[str, ...]
    font: str
    size: float
    column: float
    dpi: int
    gridded: bool = True

    @property
    def rc(self) -> dict[str, Any]:
        """For `matplotlib.style.context`, on top of matplotlib's own defaults."""
        return {
            **_FIXED,
            "figure.facecolor": self.figure,
            "savefig.facecolor": self.figure,
            "axes.facecolor": self.axes,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.text,
            "axes.titlecolor": self.text,
            "axes.titlesize": self.size + 0.5,
            "axes.labelsize": self.size,
            "axes.grid": self.gridded,
            "grid.color": self.grid,
            "text.color": self.text,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.text,
            "ytick.labelcolor": self.text,
            "xtick.labelsize": self.size - 0.5,
            "ytick.labelsize": self.size - 0.5,
            "legend.fontsize": self.size - 0.5,
            "legend.facecolor": self.axes,
            "font.family": self.font,
            "font.size": self.size,
        }

    def line(self, number: int) -> dict[str, Any]:
        """Colour and dashes of the number-th of several lines."""
        return {"color": self.cycle[number % len(self.cycle)], "linestyle": _DASHES[number % len(_DASHES)]}


_DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)), (0, (8, 2)), (0, (2, 2)))
# After Okabe and Ito (2008); the darkest are lighter on a dark ground, and the yellow is left to it.
_ON_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
_ON_DARK = ("#58A6FF", "#FF9E4A", "#3FD0A0", "#E59BC8", "#F0E442", "#A9C7E8")

DARK = Theme(
    name="dark",
    figure="#0e1117",
    axes="#161b22",
    text="#e6edf3",
    muted="#8b949e",
    grid="#262d36",
    cycle=_ON_DARK,
    font="DejaVu Sans Mono",
    size=8.0,
    column=4.6,
    dpi=180,
)
LIGHT = Theme(
    name="light",
    figure="#ffffff",
    axes="#ffffff",
    text="#1f2328",
    muted="#6e7781",
    grid="#e4e7eb",
    cycle=_ON_LIGHT,
    font="DejaVu Sans",
    size=8.0,
    column=4.6,
    dpi=180,
)
PAPER = Theme(
    name="paper",
    figure="#ffffff",
    axes="#ffffff",
    text="#000000",
    muted="#333333",
    grid="#dddddd",
    cycle=_ON_LIGHT,
    font="DejaVu Sans",
    size=7.0,
    column=3.5,
    dpi=300,
    gridded=False,
)
THEMES = {theme.name: theme for theme in (DARK, LIGHT, PAPER)}


def theme(name: str) -> Theme:
    """The theme of this name. Raises `UnknownName`."""
    if name not in THEMES:
        raise unknown("theme", name, THEMES)
    return THEMES[name]
