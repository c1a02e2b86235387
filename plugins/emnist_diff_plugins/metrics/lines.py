"""Document 002's numbers as JSON lines: a line a step of a sample, and one when the sample is finished.

A line of a step has ``vid_id``, ``step_index``, ``timestep`` and the numbers of that step, with those of each layer and
token; the last one of a sample has ``steps`` and what is said of all of them: tokens, their dominance, and the planes
in which the states differ most.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from emnist_diff_plugins.metrics import trace
from emnist_diff_plugins.metrics.attention import KINDS, Seen, Watched
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import Array, level_rates
from emnist_diff_plugins.metrics.live import NUMBERS, Live, Row, Tokens, starts
from emnist_diff_plugins.metrics.tables import finite, listed

_ENTROPIES = tuple(f"{kind}_attention_entropy" for kind in KINDS)


@attrs.define(eq=False)
class Lines:
    """The lines of B samples in hand.

    run: its name, see `record.run_name`.  ids, labels: (B,).  watched: which attention is captured.
    """

    run: str
    ids: list[int]
    labels: list[int]
    watched: Watched | None = None
    _live: Live = attrs.field(init=False)
    _step: tuple[int, float] = attrs.field(init=False, default=(0, 0.0))

    def __attrs_post_init__(self) -> None:
        self._live = Live(None if self.watched is None else Tokens(self.watched.special(self.labels)))

    def starts(
        self, step: int, timestep: float, x: Array | None, noise: Array | None, seen: Seen | None
    ) -> Iterator[str]:
        """A step begins; the lines of the one before. See `Live.starts`."""
        row = self._live.starts(len(self.ids), x, noise, seen)
        yield from self._of(row)
        self._step = step, timestep

    def ends(self, x: Array | None) -> Iterator[str]:
        """The last step ends at `x`; its lines."""
        yield from self._of(self._live.ends(x))

    def finished(self, block: Block) -> Iterator[str]:
        """The last lines of some of the samples, those of a block."""
        dominance, place_of = self._dominance(ranked_alone=False), {number: k for k, number in enumerate(self.ids)}
        for number, plane in zip(block.ids.tolist(), _planes(block), strict=True):
            line: dict[str, Any] = {"vid_id": number, "steps": len(block.levels.step)}
            if self.watched is not None:
                texts, special = self.watched.tokens(self.labels[place_of[number]])
                line |= {"tokens": texts, "special": special.astype(int).tolist(), **dominance[place_of[number]]}
            yield self._line(line | plane)

    def _of(self, row: Row | None) -> Iterator[str]:
        if row is None:
            return
        step, timestep = self._step
        dominance = self._dominance(ranked_alone=True)
        for place, number in enumerate(self.ids):
            line: dict[str, Any] = {"vid_id": number, "step_index": step, "timestep": timestep}
            line |= {name: finite(float(row.numbers[name][place])) for name in NUMBERS}
            if row.seen is not None:
                line |= {
                    name: {"mean": line[name], "by_layer": _at(row.seen.entropies[kind], place)}
                    for name, kind in zip(_ENTROPIES, KINDS, strict=True)
                }
                line["mean_token_activation"] = listed(row.seen.activation[place])
                line["text_share"] = _at(row.seen.shares, place)
                line |= dominance[place]
            yield self._line(line)

    def _line(self, line: dict[str, Any]) -> str:
        return json.dumps({**line, "run": self.run}, ensure_ascii=False, allow_nan=False) + "\n"

    def _dominance(self, ranked_alone: bool) -> list[dict[str, Any]]:
        """What tokens got so far, of each sample.  ranked_alone: without the scores of all of them."""
        tokens = self._live.tokens
        if tokens is None:
            return []
        out: list[dict[str, Any]] = [{} for _ in self.ids]
        for name, scores in zip(("token_dominance", "masked_token_dominance"), tokens.scores(), strict=True):
            for place, own in enumerate(scores):
                found = trace.Dominance.ranked(own)
                ranking = [{"token_index": token, "score": score} for token, score in found.ranking]
                out[place][name] = {"ranking": ranking} | ({} if ranked_alone else {"scores": listed(found.scores)})
        return out


def of_block(run: str, block: Block) -> Iterator[str]:
    """The lines of the samples of a block."""
    watched = None if block.captured is None else block.captured.watched
    lines = Lines(run, block.ids.tolist(), block.labels.tolist(), watched)
    levels = zip(block.levels.step.tolist(), block.levels.timestep.tolist(), starts(block), strict=True)
    for step, timestep, (_, x, noise, seen) in levels:
        yield from lines.starts(step, timestep, x, noise, seen)
    yield from lines.ends(None if block.x is None else block.x[:, -1])
    yield from lines.finished(block)


def _at(values: Any, place: int) -> dict[str, float | None]:
    return {name: finite(float(each[place])) for name, each in values.items()}


def _planes(block: Block) -> Iterator[dict[str, Any]]:
    """Of each sample the plane of its states where steps end, and that of the states at one scale."""
    levels = block.levels
    rates = level_rates(np.append(levels.alpha_bar[1:], levels.last), levels.process)
    for place in range(len(block.ids)):
        if block.x is None:
            yield {}
            continue
        states = block.x[place, 1:]
        scaled = trace.scaled(states, *rates)
        yield {"latent_pca": {**_plane(trace.rounded(states)), "scaled": _plane(scaled)}}


def _plane(states: Any) -> dict[str, Any]:
    plane = trace.Plane.of(states)
    return {"points": listed(plane.points), "explained_variance_ratio": listed(np.clip(plane.ratio, 0.0, 1.0))}
