"""Numbers of some of the samples in hand, as the metrics sink has them: of states when they are to be shown, of
attention, which sums up, at each step."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from torch import Tensor

from emnist_diff.frames import Frame, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.dashboard.state import Numbers
from emnist_diff_plugins.metrics.attention import Watched
from emnist_diff_plugins.metrics.formulas import Array
from emnist_diff_plugins.metrics.live import NUMBERS, OF_ATTENTION, Live, Row, Tokens, noise_of
from emnist_diff_plugins.metrics.trace import Dominance

_SAMPLES = 16
"""Of a batch, at most."""


@attrs.define(eq=False)
class Measuring:
    """The batches of a run, one after the other."""

    header: RunHeader
    _watched: Watched | None = attrs.field(init=False)
    _positions: Sequence[int] = attrs.field(init=False, default=())
    _latest: deque[tuple[StepInfo, Tensor, Tensor]] = attrs.field(init=False)
    _attention: Live = attrs.field(init=False, factory=Live)
    _attended: Row | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._watched = Watched.of_run(self.header)
        self._latest = deque(maxlen=3)  # from three states follow two changes

    def take(self, frame: Frame) -> None:
        """A step begins. On a GPU this waits for nothing, unless attention is captured."""
        if frame.at.index == 0:
            self._positions = frame.positions[:_SAMPLES]
            self._latest.clear()
            self._attention, self._attended = Live(self._tokens()), None
        x, prediction = (frame[name][:_SAMPLES].clone() for name in ("x", "prediction"))
        self._latest.append((frame.at, x, prediction))
        if self._watched is not None:
            few = {name: frame[name][:_SAMPLES] for name in self._watched.fields & frame.keys()}
            seen = self._watched.seen(attrs.evolve(frame, positions=self._positions, tensors=few))
            self._attended = self._attention.starts(len(self._positions), None, None, seen)

    def _tokens(self) -> Tokens | None:
        if self._watched is None:
            return None
        return Tokens(self._watched.special(self.header.labels[list(self._positions)]))

    def numbers(self, final: Tensor | None = None) -> tuple[Numbers, ...]:
        """Those of the last step that is over; none before.  final: the finished states, which end the last step."""
        live, row = Live(), None
        for at, x, prediction in self._latest:
            row = self._states(live, at, x, prediction) or row
        if final is not None:
            row = live.ends(_flat(final[:_SAMPLES])) or row
            self._attended = self._attention.ends(None) or self._attended
        if row is None:
            return ()
        found = dict(row.numbers)
        if self._attended is not None:
            found |= {name: self._attended.numbers[name] for name in OF_ATTENTION}
        best = self._best()
        return tuple(
            Numbers(int(number), {name: float(found[name][place]) for name in NUMBERS}, *best[place])
            for place, number in enumerate(self.header.sample_ids[list(self._positions)])
        )

    def _states(self, live: Live, at: StepInfo, x: Tensor, prediction: Tensor) -> Row | None:
        states, process = _flat(x), self.header.timeline.process
        noise = noise_of(_flat(prediction), states, at.alpha_bar, process, self.header.prediction_type)
        return live.starts(len(states), states, noise, None)

    def _best(self) -> list[tuple[str, float]]:
        """The token of each sample's text that got most so far among those that are no marks, and its share."""
        out = [("", float("nan")) for _ in self._positions]
        if self._watched is None or self._attention.tokens is None:
            return out
        for place, scores in enumerate(self._attention.tokens.scores()[1]):
            if ranking := Dominance.ranked(scores).ranking:
                texts, _ = self._watched.tokens(int(self.header.labels[self._positions[place]]))
                out[place] = texts[ranking[0][0]], ranking[0][1]
        return out


def _flat(states: Tensor) -> Array:
    data: Any = states.detach().to("cpu").numpy()
    return np.asarray(data.reshape(len(data), -1), np.float64)
