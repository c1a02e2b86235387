"""What a plot of recorded runs is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme


class Plot(Protocol):
    """A plot of one run, or of several for comparison. Factories of `PlotSpec` with ``of="trajectories"`` make these.

    Instances are attrs objects; their fields are settings (``--plot denoising_strips:samples=3``).
    """

    def lacks(self, runs: Sequence[Run]) -> str:
        """What the plot needs and these runs do not hold, in a few words (``x``, ``a run with forces``); empty when it
        can be drawn."""

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        """Width and height, in columns of the theme: (1, 0.7) is as wide as a column of text."""

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        """Draw on an empty `matplotlib.figure.Figure`."""
