"""Document 002's numbers of samples while they are made, and better ones: a step at a time.

The same numbers as `metrics.trace` gives of the whole, to the last bit. Of each sample the last state, its last change
and attention, and sums of attention are in memory, however many steps there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.parameterization import to_epsilon
from emnist_diff.timeline import PredictionType, ProcessKind, rates
from emnist_diff_plugins.metrics import trace
from emnist_diff_plugins.metrics.attention import KINDS, Seen
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import Array, cosine, norm, ratio

OF_STATES = ("latent_l2_norm", "predicted_noise_l2_norm", "cosine_similarity_to_previous")
OF_ATTENTION = (
    "cross_attention_entropy",
    "self_attention_entropy",
    "attention_kl_divergence",
    "masked_attention_kl_divergence",
)
NUMBERS = (*OF_STATES, "cosine_of_updates", *OF_ATTENTION)


@attrs.frozen(eq=False)
class Row:
    """A step of B samples.

    numbers: those of `NUMBERS`, (B,) each, NaN where there is no value.  seen: its attention.
    """

    numbers: Mapping[str, Array]
    seen: Seen | None


def noise_of(
    prediction: Array, x: Array, alpha_bar: float, process: ProcessKind, kind: str | None
) -> npt.NDArray[np.float64] | None:
    """The noise that predictions (B, D) at `x` mean; None where nobody knows what they are of."""
    if kind is None:
        return None
    return np.asarray(to_epsilon(prediction, x, rates(alpha_bar, process), cast(PredictionType, kind)))


@attrs.define(eq=False)
class Tokens:
    """What tokens get of attention over the steps so far, of B samples.

    special: (B, T), which are marks and filling.
    """

    special: npt.NDArray[np.bool_]
    _before: tuple[Array, Array] | None = attrs.field(init=False, default=None)
    _sums: Array = attrs.field(init=False)
    _known: Array = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sums, self._known = (np.zeros((2, *self.special.shape)) for _ in range(2))

    def take(self, activation: Array) -> tuple[Array, Array]:
        """The divergence of token activation (B, T) from that of the step before, (B,), and that of the tokens which
        are not special."""
        both = activation, trace.masked(activation, self.special)
        before = self._before or tuple(np.full_like(each, np.nan) for each in both)
        out = [trace.divergence(now, then) for now, then in zip(both, before, strict=True)]
        known = np.isfinite(np.stack(both))
        self._sums += np.where(known, both, 0.0)
        self._known += known
        latest = np.where(known.all(-1, keepdims=True), both, before)
        self._before = latest[0], latest[1]
        return out[0], out[1]

    def scores(self) -> Array:
        """(2, B, T): the mean over steps of what each token gets, and of what each gets of the rest without special
        ones; NaN where nothing is known."""
        return ratio(self._sums, self._known)


@attrs.define(eq=False)
class Live:
    """The numbers of B samples in hand.  tokens: where their attention is captured."""

    tokens: Tokens | None = None
    _x: Array | None = attrs.field(init=False, default=None)
    _half: Array | None = attrs.field(init=False, default=None)
    _update: Array | None = attrs.field(init=False, default=None)
    _row: dict[str, Any] | None = attrs.field(init=False, default=None)
    _seen: Seen | None = attrs.field(init=False, default=None)

    def starts(self, count: int, x: Array | None, noise: Array | None, seen: Seen | None) -> Row | None:
        """A step of `count` samples begins at `x` (B, D), which ends the one before: the numbers of that, None of the
        first.  noise: which is predicted in it.  seen: what is attended to."""
        out = self.ends(x)
        self._row = dict.fromkeys(NUMBERS, np.full(count, np.nan))
        if noise is not None:
            self._row["predicted_noise_l2_norm"] = norm(noise)
        if seen is not None:
            self._row |= self._attention(seen)
        self._seen = seen
        return out

    def ends(self, x: Array | None) -> Row | None:
        """The last step ends at `x`; its numbers, None where there was no step."""
        row, before, half, update = self._row, self._x, self._half, self._update
        self._x, self._row, self._half, self._update = x, None, None, None
        if row is None:
            return None
        if x is not None and before is not None:
            self._half, self._update = np.asarray(trace.rounded(x), np.float64), x - before
            row["latent_l2_norm"] = norm(x)
            if half is not None:  # the state that the first step starts from is not compared
                row["cosine_similarity_to_previous"] = trace.similarity(half, self._half)
            if update is not None:
                row["cosine_of_updates"] = cosine(update, self._update)
        return Row(row, self._seen)

    def _attention(self, seen: Seen) -> dict[str, Array]:
        out: dict[str, Array] = {}
        for kind in KINDS:
            if seen.entropies[kind]:
                out[f"{kind}_attention_entropy"] = trace.mean_of(list(seen.entropies[kind].values()))
        if self.tokens is not None:
            divergences = self.tokens.take(seen.activation)
            if seen.texts:  # nobody attends to the name of a class
                out["attention_kl_divergence"], out["masked_attention_kl_divergence"] = divergences
        return out


def rows(block: Block) -> Iterator[Row]:
    """Of the steps of a block, as they come."""
    live = Live(None if block.captured is None else Tokens(block.captured.watched.special(block.labels)))
    yield from filter(None, (live.starts(*each) for each in starts(block)))
    last = live.ends(None if block.x is None else block.x[:, -1])
    if last is not None:
        yield last


def starts(block: Block) -> Iterator[tuple[int, Array | None, Array | None, Seen | None]]:
    """What `Live.starts` takes of each step of a block."""
    predicted = block.prediction if block.prediction is not None or block.forces else block.base
    for column, alpha_bar in enumerate(block.levels.alpha_bar.tolist()):
        x = None if block.x is None else block.x[:, column]
        noise = None
        if x is not None and predicted is not None:
            noise = noise_of(predicted[:, column], x, alpha_bar, block.levels.process, block.kind)
        yield len(block.ids), x, noise, None if block.captured is None else block.captured.steps[column]
