"""What is kept of a layer's attention: maps on a small grid, what a token gets in all, and how spread attention is."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from emnist_diff_plugins.inside.layers import AttentionLayer
from emnist_diff_plugins.inside.pooling import added, averaging, fitted
from emnist_diff_plugins.inside.watching import Call
from emnist_diff_trajectory.attention import ATTENTION, AttentionRequest

_NUMBERS = 1 << 22
"""Probabilities that are there at once, 16 MB."""


def kept(call: Call, layer: AttentionLayer, request: AttentionRequest) -> dict[str, Tensor]:
    """What `AttentionLayer.shapes` names, float32 with the rows of the call first.

    Maps are means of probabilities over the queries of a cell, *cross* token by token (heads, T, fy, fx), in each cell
    of which the tokens sum to one, *self* query by query (heads, fy, fx, ky, kx), each of which sums to one; of a joint
    layer both together sum to one. The entropy is the mean over the queries of -Σ p ln p in nats, at the resolution of
    the network; with ``heads=mean`` that of the mean of the heads, as in Diffulizer.
    """
    groups = [[head] for head in range(layer.heads)] if request.heads == "all" else [list(range(layer.heads))]
    parts: dict[str, list[Tensor]] = {}
    for heads in groups:
        sums = [_Sums(layer, kind, request, len(call.query), call.query.device) for kind in layer.kinds]
        sums = [each for each in sums if each.kind in request.kinds]
        for start, stop, p in _chunks(call, layer, heads):
            for each in sums:
                each.add(start, stop, p)
        for each in sums:
            for name, value in each.result().items():
                parts.setdefault(name, []).append(value)
    return {name: torch.stack(values, 1) for name, values in parts.items()}


def _chunks(call: Call, layer: AttentionLayer, heads: list[int]) -> Iterator[tuple[int, int, Tensor]]:
    """Rows `start` … `stop` of the grid, and the probabilities of their queries, (R, queries, keys), in the mean of
    these heads."""
    rows, columns = layer.grid
    step = max(1, _NUMBERS // (len(call.query) * columns * call.key.shape[2]))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        first, last = layer.first + start * columns, layer.first + stop * columns
        p = call.probabilities(heads[0], first, last)
        for head in heads[1:]:
            p = p + call.probabilities(head, first, last)
        yield start, stop, p / len(heads)


class _Sums:
    """A kind of maps of a layer for R rows, added up over rows of its grid, as many at a time as memory should hold."""

    def __init__(
        self, layer: AttentionLayer, kind: str, request: AttentionRequest, rows: int, device: torch.device
    ) -> None:
        self.layer, self.kind = layer, kind
        most = request.resolution if kind == "cross" else request.self_resolution
        self._fit = fitted(layer.grid, most)
        keys = layer.tokens if kind == "cross" else math.prod(self._fit)
        self._down, self._across = (averaging(*pair, device) for pair in zip(layer.grid, self._fit, strict=True))
        self._total = torch.zeros(rows, *self._fit, keys, device=device)
        self._entropy = torch.zeros(rows, device=device)

    def add(self, start: int, stop: int, p: Tensor) -> None:
        """Those of some rows of the grid, from the probabilities (R, queries, keys) of their queries."""
        layer, p = self.layer, self._of_kind(p)
        self._entropy -= torch.special.xlogy(p, p).sum((1, 2))
        keys = p if self.kind == "cross" else added(p, layer.grid, self._fit).flatten(2)
        rows = keys.unflatten(1, (stop - start, layer.grid[1]))
        if self._fit == layer.grid:  # exactly what the network has
            self._total[:, start:stop] = rows
        else:
            pooled = torch.einsum("xw,rhwk->rhxk", self._across, rows)
            self._total += torch.einsum("yh,rhxk->ryxk", self._down[:, start:stop], pooled)

    def result(self) -> dict[str, Tensor]:
        """By name, (R, …) each."""
        name = f"{ATTENTION}/{self.layer.name}.{self.kind}"
        out = {f"{name}_entropy": self._entropy / self.layer.places}
        if self.kind == "self":
            return {name: self._total.unflatten(3, self._fit), **out}
        activation = self._total.mean((1, 2))  # cells are equally large, and the mean of their means is that of all
        return {name: self._total.permute(0, 3, 1, 2).contiguous(), f"{name}_activation": activation, **out}

    def _of_kind(self, p: Tensor) -> Tensor:
        """The keys that are of this kind, of all (R, queries, keys)."""
        layer = self.layer
        if layer.kind != "joint":
            return p
        if self.kind == "self":
            return p[..., layer.first : layer.first + layer.places]
        return p[..., : layer.tokens] if layer.first else p[..., layer.places :]
