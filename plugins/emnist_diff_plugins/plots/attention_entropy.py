"""How spread attention is, by layer, over time."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from emnist_diff.errors import unknown
from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.attended import Attention
from emnist_diff_plugins.plots.moments import as_chosen, attended, head_setting, positions
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme

_KINDS = ("cross", "self")

_LEAST = 0.05
"""Nats above and below the middle: less is what float16 rounds off."""


@attrs.frozen
class AttentionEntropy:
    """Entropy in nats, −Σ p ln p at the resolution of the network, mean over places, heads and samples: a line a layer,
    cross and self attention apart. The legend has the most that is possible, ln of how many are attended to."""

    layers: tuple[str, ...] = attrs.field(default=(), metadata={"help": "layers, by path or pattern; all otherwise"})
    condition: str | None = attrs.field(
        default="", metadata={"help": "whose evaluation; the sample's own class otherwise"}
    )
    head: int | None = head_setting()

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.attention_need(runs)

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        kinds = self._kinds(runs)
        names = [[layer.name for layer in self._layers(run, kind)] for run in runs for kind in kinds]
        longest = max(len(name) for some in names for name in some)
        return 0.27 + 0.012 * longest + 0.8 * len(runs), max(0.58 * len(kinds), 0.1 + 0.05 * max(map(len, names)))

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        kinds = self._kinds(runs)
        axes = figure.subplots(len(kinds), len(runs), sharex="col", sharey="row", squeeze=False)
        for row, kind in zip(axes, kinds, strict=True):
            for axis, run in zip(row, runs, strict=True):
                layers = self._layers(run, kind)
                for number, layer in enumerate(layers):
                    self._line(axis, run, layer, _style(theme, number, len(layers)))
                what = f"{kind.capitalize()} attention" + ("" if len(runs) == 1 else f" of {run.name}")
                axis.set_title(what + as_chosen(self.condition, self.head))
                if not layers:
                    panels.absent(axis, theme, f"no {kind} attention")
            middle, half = float(np.mean(row[0].get_ylim())), 0.5 * float(np.ptp(row[0].get_ylim()))
            row[0].set_ylim(middle - max(half, _LEAST), middle + max(half, _LEAST))
            row[0].set_ylabel("entropy, nats")
            if drawn := [axis for axis in row if axis.lines]:
                drawn[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        for axis, run in zip(axes[-1], runs, strict=True):
            panels.step_axis(axis, [run])

    def _kinds(self, runs: Sequence[Run]) -> list[str]:
        return [kind for kind in _KINDS if any(self._layers(run, kind) for run in runs)]

    def _layers(self, run: Run, kind: str) -> tuple[Attention, ...]:
        """Those of a kind that are chosen. Raises `UnknownName` for a pattern that no layer of any kind is of."""
        names = {each: [layer.name for layer in attended(run).layers(each)] for each in _KINDS}
        every = [name for some in names.values() for name in some]
        if strange := [pattern for pattern in self.layers if not fnmatch.filter(every, pattern)]:
            raise unknown("layer with recorded attention", strange[0], every)
        patterns = [pattern for pattern in self.layers if fnmatch.filter(names[kind], pattern)]
        return attended(run, self.head).layers(kind, patterns) if patterns or not self.layers else ()

    def _line(self, axis: Any, run: Run, layer: Attention, style: dict[str, Any]) -> None:
        """The mean over samples; of several the range that holds nine tenths of them, thinly."""
        source = attended(run, self.head)
        condition = source.condition(self.condition)
        path = f"{layer.path}_entropy"
        samples = positions(run, (), len(run.committed))
        values = np.stack([source.read(path, position, condition).mean(axis=1) for position in samples])
        steps = source.evaluated(condition)
        if len(values) > 1:
            low, high = np.percentile(values, (5, 95), axis=0)
            axis.fill_between(steps, low, high, color=style["color"], alpha=0.12, linewidth=0)
        most = f" (≤ {math.log(layer.keys):.2f})" if layer.keys else ""
        axis.plot(steps, values.mean(axis=0), label=layer.name + most, **style, **panels.dots(len(steps)))


def _style(theme: Theme, number: int, count: int) -> dict[str, Any]:
    """Of few lines the theme's; of many colours that go from the first layer to the last."""
    if count <= len(theme.cycle):
        return theme.line(number)
    import matplotlib

    return {"color": matplotlib.colormaps["viridis"](0.1 + 0.9 * number / (count - 1)), "linewidth": 1.0}
