"""What a network attended to while a run was made, as plots show it: read a layer, a sample and a condition at a time.

Attention is in the run's own file or in the one beside it that ``emnist-diff attend`` writes.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError, TrajectoryError, unknown
from emnist_diff_trajectory.attention import ATTENTION, captured_from
from emnist_diff_trajectory.fields import dataset_of
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.reader import Trajectory

Maps = npt.NDArray[np.float32]
_MOST = 1 << 28
"""Bytes of float32 that are read at once: a hostile file can claim any."""
_DIMENSIONS = {"cross": 7, "self": 8}
"""Of the datasets of maps, samples, steps and conditions among them."""


@attrs.frozen
class Attention:
    """Maps of a layer in a file.

    name: the layer's path.  kind: cross or self.  grid: rows and columns of the maps.  heads: how many are kept.
    keys: how many tokens, or places at the resolution of the network, are attended to; 0 where it is not known.
    joined: whether what is kept is the mean of several heads.
    """

    name: str
    kind: str
    grid: tuple[int, int]
    heads: int
    keys: int
    joined: bool = False

    @property
    def path(self) -> str:
        """The activation that holds the maps."""
        return f"{ATTENTION}/{self.name}.{self.kind}"


@attrs.frozen(eq=False)
class Attended:
    """Attention in a file, which must stay open.  head: that of one head of each layer alone; of all when left out."""

    trajectory: Trajectory
    head: int | None = None

    def layers(self, kind: str, patterns: Sequence[str] = ()) -> tuple[Attention, ...]:
        """Those with maps of a kind, in the order of evaluation.  patterns: only layers of these paths or patterns.

        Raises `UnknownName` for a pattern that none is of, `ConfigError` for one without the head that is chosen.
        """
        facts = {str(each.get("name")): each for each in _dicts(self._facts.get("attention"))}
        found = {}
        for activation in self.trajectory.activations:
            group, _, rest = activation.partition("/")
            name, dot, end = rest.rpartition(".")
            shape = self.trajectory.field(dataset_of(activation)).shape
            if group == ATTENTION and dot and end == kind and len(shape) == _DIMENSIONS[kind]:
                grid = (shape[5], shape[6]) if kind == "cross" else (shape[4], shape[5])
                known = facts.get(name, {})
                joined = shape[3] == 1 and known.get("heads") != 1
                found[name] = Attention(name, kind, grid, shape[3], _keys(known, kind, shape), joined)
        order = [*(name for name in facts if name in found), *(name for name in found if name not in facts)]
        if not patterns or not found:
            return tuple(self._with_head(found[name]) for name in order)
        chosen = set[str]()
        for pattern in patterns:
            if not (names := fnmatch.filter(order, pattern)):
                raise unknown("layer with recorded attention", pattern, order)
            chosen.update(names)
        return tuple(self._with_head(found[name]) for name in order if name in chosen)

    def _with_head(self, layer: Attention) -> Attention:
        """The layer. Raises `ConfigError` where it has not the head that is chosen."""
        if self.head is None or (not layer.joined and self.head < layer.heads):
            return layer
        file = self.trajectory.path
        if layer.joined:
            source = captured_from(file) or file
            raise ConfigError(
                f"head={self.head}: {file} keeps the mean of the heads of {layer.name} alone — emnist-diff attend "
                f"{source} --heads all --overwrite"
            )
        last = layer.heads - 1
        raise ConfigError(f"head={self.head}: {layer.name} has heads 0 … {last} — choose one, or other layers=[…]")

    @property
    def _facts(self) -> Mapping[str, Any]:
        facts = self.trajectory.environment.get("activations")
        return facts if isinstance(facts, Mapping) else {}

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """(K,) the steps whose attention is kept."""
        return self.trajectory.kept_steps

    def holds(self, position: int) -> bool:
        """Whether attention of the sample at this position is kept, and whole."""
        return position in set(self.trajectory.kept_samples.tolist()) and position in set(self.trajectory.committed)

    def condition(self, name: str | None = "") -> str:
        """The recorded condition of this name; that of the sample's own class when left out, or the first that is not
        the null condition. None is what ``condition=null`` reads as. Raises `UnknownName`."""
        names = tuple(self.trajectory.conditions)
        name = "null" if name is None else name
        if name and name not in names:
            raise unknown(f"condition of {self.trajectory.path.name}:", name, names)
        return name or ("own" if "own" in names else next((n for n in names if n != "null"), names[0]))

    def evaluated(self, condition: str) -> npt.NDArray[np.int64]:
        """The kept steps that evaluate a condition."""
        place = self.trajectory.conditions.index(condition)
        return np.asarray(self.steps[self.trajectory.evaluated[:, place]])

    def read(self, activation: str, position: int, condition: str, steps: Sequence[int] | None = None) -> Maps:
        """(K, heads, …) float32 of a sample at these steps, all that are evaluated when left out; of a chosen head that
        alone."""
        file = self.trajectory
        dataset, place = file.field(dataset_of(activation)), file.conditions.index(condition)
        columns = [file.column(step) for step in (self.evaluated(condition).tolist() if steps is None else steps)]
        if 4 * len(columns) * math.prod(dataset.shape[3:]) > _MOST:
            raise TrajectoryError(f"{file.path}: {activation} is larger than plots are made of — capture lower maps")
        row, heads = file.row(position), slice(None) if self.head is None else slice(self.head, self.head + 1)
        with reading(file.path):
            values = np.stack([np.asarray(dataset[row, column, place, heads], dtype=np.float32) for column in columns])
        if not np.isfinite(values).all():
            raise TrajectoryError(f"{file.path}: {activation} is not finite — see emnist-diff verify")
        return values

    def tokens(self, position: int, condition: str) -> tuple[Token, ...]:
        """What the condition's text is of for this sample; nothing where the file does not say."""
        file = self.trajectory
        text = {"own": file.classes[int(file.labels[position])], "null": ""}.get(condition, condition)
        lists = self._facts.get("tokens")
        found = lists.get(text) if isinstance(lists, Mapping) else None
        if not isinstance(found, Mapping) or not isinstance(found.get("text"), list):
            return ()
        count = len(found["text"])
        columns: list[Any] = [found.get(key) for key in ("special", "word", "encoder")]
        if not all(isinstance(column, list) and len(column) == count for column in columns):
            return ()
        specials, words, encoders = columns
        return tuple(
            Token(place, str(piece), bool(special), word if isinstance(word, int) else -1, str(encoder))
            for place, (piece, special, word, encoder) in enumerate(
                zip(found["text"], specials, words, encoders, strict=True)
            )
        )


@attrs.frozen
class Token:
    """A token of a text.  place: along the axis of maps.  text: its letters.  special: begin, end or filling.
    word: which word of the text it is of, -1 for none.  encoder: the part that read it."""

    place: int
    text: str
    special: bool
    word: int
    encoder: str


@attrs.frozen
class Piece:
    """Tokens that are shown as one.  encoder: the part that read them, where several parts read the text."""

    text: str
    places: tuple[int, ...]
    encoder: str = ""

    @property
    def name(self) -> str:
        """The text, and who read it."""
        return f"{self.text} ({self.encoder})" if self.encoder else self.text


def pieces(tokens: Sequence[Token], words: bool) -> tuple[Piece, ...]:
    """The tokens that are not special, in their order; words: those of a word together."""
    out: dict[Any, list[Token]] = {}
    for token in tokens:
        if not token.special:
            out.setdefault((token.encoder, token.word) if words and token.word >= 0 else token.place, []).append(token)
    several = len({some[0].encoder for some in out.values()}) > 1
    return tuple(
        Piece("".join(t.text for t in some) or "▁", tuple(t.place for t in some), some[0].encoder if several else "")
        for some in out.values()
    )


def _keys(facts: Mapping[str, Any], kind: str, shape: Sequence[int]) -> int:
    if kind == "cross":
        return int(shape[4])
    grid = facts.get("grid")
    if isinstance(grid, list) and len(grid) == 2 and all(isinstance(side, int) for side in grid):
        return int(grid[0] * grid[1])
    return 0


def _dicts(values: Any) -> list[Mapping[str, Any]]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []
