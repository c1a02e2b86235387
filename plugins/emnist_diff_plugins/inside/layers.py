"""The layers of a network that attend: found by evaluating it once."""

from __future__ import annotations

import fnmatch
import math
import re
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import attrs
from torch import nn

from emnist_diff.errors import ConfigError, unknown
from emnist_diff_plugins.inside.pooling import Grid, fitted
from emnist_diff_plugins.inside.watching import Call, attending, watched
from emnist_diff_trajectory.attention import ATTENTION, AttentionRequest

PLACES = {
    "down_blocks": "down",
    "mid_block": "mid",
    "up_blocks": "up",
    "transformer_blocks": "double",
    "single_transformer_blocks": "single",
}
"""Where a layer stands, by the beginning of its path."""


@attrs.frozen
class Layout:
    """How a network sees a state.

    grids: of places, rows and columns, that its layers may have.  tokens: of a text that layers attend to, as many as
    a condition has; 0 where there are none.  text: whether tokens of the text stand before or behind those of the
    image where both attend to both.
    """

    grids: tuple[Grid, ...]
    tokens: int = 0
    text: Literal["first", "last"] = "last"

    def grid(self, places: int) -> Grid | None:
        """The grid of so many places; None where there is none."""
        return next((grid for grid in self.grids if math.prod(grid) == places), None)


@attrs.frozen
class AttentionLayer:
    """A layer that attends.

    name: its path.  kind: *self* among the places of the state, *cross* from them to tokens, *joint* both at once.
    place: down, mid, up, double, single, or "".  heads: how many.  grid: of its queries.  tokens: of its text.
    first: where its places begin among queries and keys.
    """

    name: str
    kind: Literal["self", "cross", "joint"]
    place: str
    heads: int
    grid: Grid
    tokens: int = 0
    first: int = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of maps that it has."""
        return ("cross", "self") if self.kind == "joint" else (self.kind,)

    @property
    def places(self) -> int:
        """How many places attend."""
        return math.prod(self.grid)

    @property
    def block(self) -> str:
        """The block that it is in: ``down_blocks.1``."""
        match = re.match(r"\w+?_blocks\.\d+|\w+?_block", self.name)
        return match[0] if match else self.name

    def shapes(self, request: AttentionRequest) -> dict[str, tuple[int, ...]]:
        """What is kept of a row, by name."""
        heads = self.heads if request.heads == "all" else 1
        out: dict[str, tuple[int, ...]] = {}
        for kind in self.kinds:
            if kind not in request.kinds:
                continue
            name = f"{ATTENTION}/{self.name}.{kind}"
            if kind == "cross":
                out[name] = (heads, self.tokens, *fitted(self.grid, request.resolution))
                out[f"{name}_activation"] = (heads, self.tokens)
            else:
                fit = fitted(self.grid, request.self_resolution)
                out[name] = (heads, *fit, *fit)
            out[f"{name}_entropy"] = (heads,)
        return out


_FOUND: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[AttentionLayer, ...], frozenset[str]]] = (
    weakref.WeakKeyDictionary()
)


def attention_layers(network: nn.Module, layout: Layout, evaluate: Callable[[], object]) -> tuple[AttentionLayer, ...]:
    """The layers of a network that reach torch's kernel, in the order of evaluation.  evaluate: evaluates it once."""
    return _found(network, layout, evaluate)[0]


def _found(
    network: nn.Module, layout: Layout, evaluate: Callable[[], object]
) -> tuple[tuple[AttentionLayer, ...], frozenset[str]]:
    if network not in _FOUND:
        layers, seen = attending(network), dict[str, AttentionLayer | None]()

        def note(name: str, call: Call) -> None:
            seen.setdefault(name, _layer(name, call, layout))

        with watched(layers, note):
            evaluate()
        known = tuple(layer for layer in seen.values() if layer is not None)
        _FOUND[network] = known, frozenset(layers.keys() - {layer.name for layer in known})
    return _FOUND[network]


def _layer(name: str, call: Call, layout: Layout) -> AttentionLayer | None:
    """What a call says of its layer; None for one whose queries are on no grid."""
    queries, keys, tokens = call.query.shape[2], call.key.shape[2], layout.tokens
    place, heads = PLACES.get(name.partition(".")[0], ""), call.query.shape[1]
    if queries == keys and tokens and (grid := layout.grid(queries - tokens)) and not layout.grid(queries):
        return AttentionLayer(name, "joint", place, heads, grid, tokens, tokens if layout.text == "first" else 0)
    if (grid := layout.grid(queries)) is None:
        return None
    if queries == keys and not (call.to_context and keys == tokens):
        return AttentionLayer(name, "self", place, heads, grid)
    return AttentionLayer(name, "cross", place, heads, grid, keys)


def chosen(
    request: AttentionRequest, network: nn.Module, layout: Layout, evaluate: Callable[[], object]
) -> tuple[AttentionLayer, ...]:
    """The layers that a request means, in the order of evaluation.

    Raises `ConfigError` for a network without attention and for a layer that never reaches the kernel, `UnknownName`
    for one that is not there.
    """
    layers, hidden = _found(network, layout, evaluate)
    if not layers:
        why = (
            f"{sorted(hidden)[0]} never reaches torch's attention kernel" if hidden else "it has no layer that attends"
        )
        raise ConfigError(f"this network has no attention to record: {why}{_remedy(hidden)}")
    having = [layer for layer in layers if set(layer.kinds) & set(request.kinds)]
    if not request.layers:
        if not having:
            present = " and ".join(sorted({kind for layer in layers for kind in layer.kinds}))
            raise ConfigError(f"this network has no {request.kinds[0]} attention — it has {present}")
        return stratified(having)
    wanted = set[str]()
    for pattern in request.layers:
        names = fnmatch.filter([layer.name for layer in having], pattern)
        if not names and (lost := fnmatch.filter(sorted(hidden), pattern)):
            raise ConfigError(f"layer {lost[0]} never reaches torch's attention kernel{_remedy(hidden)}")
        if not names:
            raise unknown("layer that attends", pattern, [layer.name for layer in having])
        wanted.update(names)
    return tuple(layer for layer in having if layer.name in wanted)


def _remedy(hidden: Iterable[str]) -> str:
    return " — leave out what replaces its attention, such as attention_slicing" if hidden else ""


_OF_A_PLACE = 4
"""Blocks of a transformer of which a layer is kept unless others are named."""


def stratified(layers: Sequence[AttentionLayer]) -> tuple[AttentionLayer, ...]:
    """One layer of each kind a block, the last; of a row of many blocks alike a few, evenly spread."""
    last = {(layer.block, layer.kind): layer for layer in layers}
    kept = list(last.values())
    for place in ("double", "single"):
        blocks = list(dict.fromkeys(layer.block for layer in kept if layer.place == place))
        if len(blocks) > _OF_A_PLACE:
            steps = [round(i * (len(blocks) - 1) / (_OF_A_PLACE - 1)) for i in range(_OF_A_PLACE)]
            some = {blocks[step] for step in steps}
            kept = [layer for layer in kept if layer.place != place or layer.block in some]
    return tuple(layer for layer in layers if layer in kept)
