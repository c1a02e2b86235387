"""Samples from noise to image, with what is attended to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import unknown
from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.attended import Maps, Piece, Token, pieces
from emnist_diff_plugins.plots.heat import (
    below,
    blended,
    close_together,
    colour_bar,
    density,
    enlarged,
    frames,
    heat,
    picture,
)
from emnist_diff_plugins.plots.moments import as_chosen, attended, head_setting, moments, positions, steps_setting
from emnist_diff_plugins.plots.runs import Run, shown
from emnist_diff_plugins.plots.theme import Theme

_COMMON = 99.5
"""Percentile of the values that has the last colour: a few cells above it would leave the others dark."""


@attrs.frozen
class EvolutionStrip:
    """Two rows a sample: its frames, and over them the attention that each place gives to a word, or, in a network
    without words, the attention that it gets from all places. Both are relative: of a word to its mean share over the
    picture and over time, of places to what each would get if all got alike."""

    samples: tuple[int, ...] = attrs.field(default=(), metadata={"help": "ids; the first two samples otherwise"})
    word: str = attrs.field(default="", metadata={"help": "a word or token of the text; the one of most attention"})
    layers: tuple[str, ...] = attrs.field(default=(), metadata={"help": "layers, by path or pattern; all otherwise"})
    moments: int = attrs.field(default=9, validator=v.ge(1), metadata={"help": "at most this many steps"})
    steps: tuple[int, ...] = steps_setting()
    head: int | None = head_setting()
    condition: str | None = attrs.field(
        default="", metadata={"help": "whose evaluation; the sample's own class otherwise"}
    )

    def lacks(self, runs: Sequence[Run]) -> str:
        if lacking := panels.attention_need(runs):
            return lacking
        return "" if len({_kind(run) for run in runs}) == 1 else "attention of one kind"

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        columns = max(
            len(moments(run, attended(run).condition(self.condition), self.moments, self.steps)) for run in runs
        )
        rows = sum(len(self._positions(run)) for run in runs)
        return 0.45 + 0.14 * columns, 0.13 + 0.29 * rows

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        rows = [(run, p, *self._maps(run, p)) for run in runs for p in self._positions(run)]
        ends = _ends(np.concatenate([maps.ravel() for *_, maps in rows]), _kind(runs[0]))
        columns = max(len(maps) for *_, maps in rows)
        grid = {"wspace": 0.03, "hspace": 0.03}
        axes = figure.subplots(2 * len(rows), columns, squeeze=False, gridspec_kw=grid)
        close_together(figure)
        for number, (run, position, what, maps) in enumerate(rows):
            plain, covered = axes[2 * number], axes[2 * number + 1]
            steps = moments(run, attended(run).condition(self.condition), self.moments, self.steps)
            for axis in (*plain[len(steps) :], *covered[len(steps) :]):
                axis.set_axis_off()
            for column, (frame, step) in enumerate(zip(frames(run, position, steps), steps, strict=True)):
                picture(plain[column], frame)
                picture(covered[column], blended(frame, maps[column], *ends))
                if number == 0 or len({other.trajectory.steps for other in runs}) > 1:
                    plain[column].set_title(str(step), loc="center", fontsize=theme.size - 0.5)
            name = f"{panels.label(run.classes(np.array([position]))[0])} #{int(run.trajectory.ids[position])}"
            text = name + (f"\n{run.name}" if len(runs) > 1 else "")
            plain[0].set_ylabel(text, rotation=0, ha="right", va="center")
            covered[0].set_ylabel(what, rotation=0, ha="right", va="center")
        unit = "attention\n(1: its mean)" if _kind(runs[0]) == "cross" else "attention\n(1: all places alike)"
        colour_bar(figure, axes, ends, unit, theme, above=True)
        figure.supxlabel(f"step, {below(runs[0])}{as_chosen(self.condition, self.head)}", fontsize=theme.size)

    def _positions(self, run: Run) -> list[int]:
        """The samples that are drawn: of those whose text has the word, where one is named. Raises `UnknownName`."""
        if not self.word or self.samples or _kind(run) == "self":
            return positions(run, self.samples, 2)
        source, own = attended(run), positions(run, (), len(run.committed))
        condition = source.condition(self.condition)
        texts = {place: [piece.text for piece in _words(source.tokens(place, condition))] for place in own}
        having = [place for place in own if self.word in texts[place]]
        if not having:
            raise unknown(
                "word of the texts", self.word, dict.fromkeys(word for text in texts.values() for word in text)
            )
        return having[:2]

    def _maps(self, run: Run, position: int) -> tuple[str, Maps]:
        """What is drawn in a few words, and (K, H, W) at each step that is drawn."""
        source = attended(run, self.head)
        condition, (height, width) = source.condition(self.condition), run.trajectory.images.shape[1:3]
        steps = moments(run, condition, self.moments, self.steps)
        if _kind(run) == "cross":
            layers, piece = source.layers("cross", self.layers), self._word(run, position, condition)
            shares = [heat(source, layers, position, condition, [step], [piece], (height, width))[0] for step in steps]
            maps: Maps = np.stack(shares)
            return f"to {shown(piece.text, 14)}", maps / np.float32(max(float(maps.mean()), 1e-12))
        layers = source.layers("self", self.layers)
        total = np.zeros((len(steps), height, width), dtype=np.float32)
        for layer in layers:
            maps = source.read(layer.path, position, condition, steps).mean((1, 2, 3))
            total += enlarged(density(maps), (height, width))
        return "attention\nreceived", total / np.float32(len(layers))

    def _word(self, run: Run, position: int, condition: str) -> Piece:
        """The word that is named, or the one of most attention. Raises `UnknownName`."""
        source = attended(run, self.head)
        tokens = source.tokens(position, condition)
        if self.word:
            some = _words(tokens)
            if named := next((piece for piece in some if piece.text == self.word), None):
                return named
            raise unknown("word of the text", self.word, [piece.text for piece in some])
        layers = source.layers("cross", self.layers)
        paths = [f"{layer.path}_activation" for layer in layers]
        share = np.sum([source.read(path, position, condition).mean((0, 1)) for path in paths], axis=0)
        return max(pieces(tokens, True), key=lambda piece: float(share[list(piece.places)].sum()))


def _kind(run: Run) -> str:
    """cross where the run has texts and their tokens are known, self otherwise."""
    source = attended(run)
    texts = source.layers("cross") and source.tokens(int(run.committed[0]), source.condition())
    return "cross" if texts else "self"


def _words(tokens: Sequence[Token]) -> tuple[Piece, ...]:
    """What can be named: words, and the tokens that they are made of."""
    return *pieces(tokens, True), *pieces(tokens, False)


def _ends(values: Maps, kind: str) -> tuple[float, float]:
    """Values of the first and the last colour; attention among places begins at none."""
    return (float(values.min()) if kind == "cross" else 0.0), max(1.0, float(np.percentile(values, _COMMON)))
