"""How much attention each token gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.attended import Attention, pieces
from emnist_diff_plugins.plots.moments import as_chosen, attended, head_setting, moments, positions, steps_setting
from emnist_diff_plugins.plots.runs import Floats, Run, shown
from emnist_diff_plugins.plots.theme import Theme


@attrs.frozen
class TokenDominance:
    """Bars, the longest first: the share of cross attention that each token of a text gets, the mean over layers,
    steps, heads, places and the samples of the text. Begin, end and filling are left out, and the title says how much
    they get."""

    most: int = attrs.field(default=25, validator=v.ge(1), metadata={"help": "at most this many tokens of a text"})
    texts: int = attrs.field(default=4, validator=v.ge(1), metadata={"help": "at most this many texts of a run"})
    words: bool = attrs.field(default=False, metadata={"help": "add the tokens of a word up"})
    layers: tuple[str, ...] = attrs.field(default=(), metadata={"help": "layers, by path or pattern; all otherwise"})
    condition: str | None = attrs.field(
        default="", metadata={"help": "whose evaluation; the sample's own text otherwise"}
    )
    steps: tuple[int, ...] = steps_setting("steps by number; all otherwise")
    head: int | None = head_setting()

    def lacks(self, runs: Sequence[Run]) -> str:
        return panels.attention_need(runs, "cross") or panels.token_need(runs, self.condition)

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        bars = [len(some) for run in runs for _, some, _, _ in self._texts(run)]
        return 0.3 + 0.55 * len(bars), 0.25 + 0.045 * max(bars)

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        texts = [(run, *each) for run in runs for each in self._texts(run)]
        axes = figure.subplots(1, len(texts), squeeze=False, sharex=True)[0]
        for axis, (run, name, names, shares, rest) in zip(axes, texts, strict=True):
            at = np.arange(len(shares))
            axis.barh(at, shares, color=theme.cycle[0], height=0.75)
            axis.set_yticks(at, [panels.label(text) for text in names])
            axis.invert_yaxis()
            axis.grid(visible=False, axis="y")
            first = name if len(runs) == 1 else f"{name} ({run.name})"
            axis.set_title(f"{first}\nothers and special tokens {rest:.0%}", fontsize=theme.size - 0.5)
            axis.locator_params(axis="x", nbins=4)
        figure.supxlabel(f"share of cross attention{as_chosen(self.condition, self.head)}", fontsize=theme.size)

    def _texts(self, run: Run) -> list[tuple[str, list[str], Floats, float]]:
        """Of each text: its name, its tokens and their shares, those that get most first, and what is left of 1."""
        source, seen = attended(run, self.head), set[str]()
        out: list[tuple[str, list[str], Floats, float]] = []
        condition, layers = source.condition(self.condition), source.layers("cross", self.layers)
        for position in positions(run, (), len(run.committed)):
            name = run.classes(np.array([position]))[0]
            some = pieces(source.tokens(position, condition), self.words)
            if name in seen or not some or len(out) == self.texts:
                continue
            seen.add(name)
            share = self._shares(run, int(run.trajectory.labels[position]), condition, layers)
            sums = np.array([share[list(piece.places)].sum() for piece in some])
            order = np.argsort(-sums, kind="stable")[: self.most]
            names = [shown(some[place].name) for place in order.tolist()]
            out.append((name, names, sums[order], float(1.0 - sums[order].sum())))
        return out

    def _shares(self, run: Run, label: int, condition: str, layers: Sequence[Attention]) -> Floats:
        """(T,) of the samples of a text. In joint layers that of all attention to the text."""
        source, every = attended(run, self.head), len(self.steps)
        steps = moments(run, condition, every, self.steps) if every else None
        own = [p for p in positions(run, (), len(run.committed)) if run.trajectory.labels[p] == label]
        total: Any = 0.0
        for layer in layers:
            for position in own:
                values = source.read(f"{layer.path}_activation", position, condition, steps).mean(
                    (0, 1), dtype=np.float64
                )
                total = total + values / values.sum()
        return np.asarray(total / (len(own) * len(layers)))
