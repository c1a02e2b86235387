"""How large what is captured becomes, known before anything is captured, and what makes it smaller."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.capacity import size
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.schema import Array

_SMALLEST = 4
"""The longest side of a map below which it is not halved."""


def table(arrays: Sequence[Array]) -> list[str]:
    """Lines for people: what takes how much, the largest first, and the sum."""
    rows = sorted(arrays, key=lambda array: -array.size)
    width = max((len(array.name) for array in rows), default=0)
    lines = [
        f"  {array.name:<{width}}  {array.dtype:<8} {'×'.join(map(str, array.shape)):<28} {size(array.size)}"
        for array in rows
    ]
    return [*lines, f"  {'in all':<{width}}  {'':<8} {'':<28} {size(total(arrays))}"]


def total(arrays: Sequence[Array]) -> int:
    """Bytes."""
    return sum(array.size for array in arrays)


@attrs.frozen
class Cut:
    """A request made smaller.  every: of the steps."""

    request: AttentionRequest
    every: int


def cuts(request: AttentionRequest, every: int, stratified: Sequence[str], kinds: Collection[str]) -> Iterator[Cut]:
    """The request itself, and ever smaller ones: the mean of the heads, no attention among places, half the resolution,
    every second step, one layer a block; then ever lower resolutions and fewer steps.

    stratified: names of the layers that one a block are.  kinds: of attention, that the network has.
    """
    cut = Cut(request, every)
    yield cut
    if cut.request.heads == "all":
        cut = _with(cut, heads="mean")
        yield cut
    if set(cut.request.kinds) == {"cross", "self"} <= set(kinds):
        cut = _with(cut, kinds=("cross",))
        yield cut
    once = True
    while True:
        highest = max(cut.request.resolution, cut.request.self_resolution)
        if highest > _SMALLEST:
            lower = {key: max(_SMALLEST, getattr(cut.request, key) // 2) for key in ("resolution", "self_resolution")}
            cut = _with(cut, **lower)
            yield cut
        cut = attrs.evolve(cut, every=2 * cut.every)
        yield cut
        if once and cut.request.layers:
            cut = _with(cut, layers=tuple(stratified))
            yield cut
        once = False


def _with(cut: Cut, **changes: Any) -> Cut:
    return attrs.evolve(cut, request=attrs.evolve(cut.request, **changes))


def fit(
    most: int, choices: Iterator[Cut], arrays: Callable[[AttentionRequest, int], Sequence[Array]], steps: int
) -> tuple[Cut, tuple[str, ...]]:
    """The first of some requests whose arrays take at most `most` bytes, and what was given up for it, in order. A cut
    that makes nothing smaller is left out.  steps: of the run.

    Raises `ConfigError` where not even a single step of the smallest does.
    """
    kept: Cut | None = None
    least, given_up = 0, dict[str, str]()
    for cut in choices:
        if cut.every > 2 * steps:
            break
        held = arrays(cut.request, cut.every)
        needed = total(held)
        if kept is not None:
            if needed >= least:
                if kept.every == cut.every and needed == least:  # nothing is that large, or there are no heads to join
                    kept = cut
                continue
            given_up |= _given_up(kept, cut, held)
        kept, least = cut, needed
        if needed <= most:
            return cut, tuple(given_up.values())
    raise ConfigError(
        f"attention does not fit into {size(most)}: the least is {size(least)} — allow more, or choose fewer samples"
    )


def _given_up(before: Cut, after: Cut, held: Sequence[Array]) -> dict[str, str]:
    """What people are told of a step from one request to a smaller one, which keeps these arrays, by what it is of."""
    one, other, out = before.request, after.request, dict[str, str]()
    if one.heads != other.heads:
        out["heads"] = "heads apart from each other (only their mean is kept)"
    if one.kinds != other.kinds:
        out["kinds"] = "attention among places"
    if (one.resolution, one.self_resolution) != (other.resolution, other.self_resolution):
        sides = [side for array in held if array.name.endswith((".cross", ".self")) for side in array.shape[-2:]]
        out["resolution"] = f"maps of more than {max(sides)} places a side"
    if before.every != after.every:
        out["every"] = f"steps that {after.every} does not divide"
    if one.layers != other.layers:
        out["layers"] = "all but one layer a block"
    return out
