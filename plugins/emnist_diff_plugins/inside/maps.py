"""What is kept of a layer's attention: maps on a small grid, what a token gets in all, and how spread attention is."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
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
    kinds = [kind for kind in layer.kinds if kind in request.kinds]
    parts: dict[str, list[Tensor]] = {}
    for heads in groups:
        for kind in kinds:
            for name, value in _Sums(layer, kind, request).of(call, heads).items():
                parts.setdefault(name, []).append(value)
    return {name: torch.stack(values, 1) for name, values in parts.items()}


@attrs.frozen
class _Sums:
    """A kind of maps of a layer, added up over rows of its grid, as many as memory should hold."""

    layer: AttentionLayer
    kind: str
    request: AttentionRequest

    def of(self, call: Call, heads: list[int]) -> dict[str, Tensor]:
        """By name, of the mean over these heads: (R, …) each."""
        layer, name = self.layer, f"{ATTENTION}/{self.layer.name}.{self.kind}"
        most = self.request.resolution if self.kind == "cross" else self.request.self_resolution
        fit, device = fitted(layer.grid, most), call.query.device
        down = averaging(layer.grid[0], fit[0], device)
        across = averaging(layer.grid[1], fit[1], device)
        total: Tensor | None = None
        entropy = torch.zeros(len(call.query), device=device)
        for start, stop, p in self._chunks(call, heads):
            entropy = entropy - torch.special.xlogy(p, p).sum((1, 2))
            keys = p if self.kind == "cross" else added(p, layer.grid, fit).flatten(2)
            rows = keys.unflatten(1, (stop - start, layer.grid[1]))
            if fit == layer.grid:  # exactly what the network has
                part = torch.zeros(len(p), *fit, rows.shape[-1], device=device)
                part[:, start:stop] = rows
            else:
                pooled = torch.einsum("xw,rhwk->rhxk", across, rows)
                part = torch.einsum("yh,rhxk->ryxk", down[:, start:stop], pooled)
            total = part if total is None else total + part
        assert total is not None
        out = {f"{name}_entropy": entropy / layer.places}
        if self.kind == "self":
            return {name: total.unflatten(3, fit), **out}
        activation = total.mean((1, 2))  # cells are equally large, and the mean of their means is that of all queries
        return {name: total.permute(0, 3, 1, 2).contiguous(), f"{name}_activation": activation, **out}

    def _chunks(self, call: Call, heads: list[int]) -> Iterator[tuple[int, int, Tensor]]:
        """Rows `start` … `stop` of the grid, and the probabilities of their queries, (R, queries, keys)."""
        layer = self.layer
        rows, columns = layer.grid
        keys = call.key.shape[2]
        step = max(1, _NUMBERS // (len(call.query) * columns * keys))
        for start in range(0, rows, step):
            stop = min(rows, start + step)
            first = layer.first + start * columns
            last = layer.first + stop * columns
            p = call.probabilities(heads[0], first, last)
            for head in heads[1:]:
                p = p + call.probabilities(head, first, last)
            p = p / len(heads)
            yield start, stop, self._of_kind(p)

    def _of_kind(self, p: Tensor) -> Tensor:
        """The keys that are of this kind, of all (R, queries, keys)."""
        layer = self.layer
        if layer.kind != "joint":
            return p
        image = p[..., layer.first : layer.first + layer.places]
        if self.kind == "self":
            return image
        return p[..., : layer.tokens] if layer.first else p[..., layer.places :]
