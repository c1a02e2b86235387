"""How large what is captured becomes, known before anything is captured, and what makes it smaller."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

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
    """A request made smaller.  every: of the steps.  given_up: for it, in order."""

    request: AttentionRequest
    every: int
    given_up: tuple[str, ...] = ()


def cuts(request: AttentionRequest, every: int, stratified: Sequence[str], kinds: Collection[str]) -> Iterator[Cut]:
    """The request itself, and ever smaller ones: the mean of the heads, no attention among places, half the resolution,
    every second step, one layer a block; then ever lower resolutions and fewer steps.

    stratified: names of the layers that one a block are.  kinds: of attention, that the network has.
    """
    cut = Cut(request, every)
    yield cut
    if cut.request.heads == "all":
        cut = _with(cut, attrs.evolve(cut.request, heads="mean"), "the mean of the heads")
        yield cut
    if set(cut.request.kinds) == {"cross", "self"} <= set(kinds):
        cut = _with(cut, attrs.evolve(cut.request, kinds=("cross",)), "no attention among places")
        yield cut
    once = True
    while True:
        highest = max(cut.request.resolution, cut.request.self_resolution)
        if highest > _SMALLEST:
            lower = {key: max(_SMALLEST, getattr(cut.request, key) // 2) for key in ("resolution", "self_resolution")}
            cut = _with(cut, attrs.evolve(cut.request, **lower), f"maps of at most {max(lower.values())} a side")
            yield cut
        cut = attrs.evolve(cut, every=2 * cut.every, given_up=(*cut.given_up, f"every {2 * cut.every}th step"))
        yield cut
        if once and cut.request.layers:
            cut = _with(cut, attrs.evolve(cut.request, layers=tuple(stratified)), "one layer a block")
            yield cut
        once = False


def _with(cut: Cut, request: AttentionRequest, what: str) -> Cut:
    return attrs.evolve(cut, request=request, given_up=(*cut.given_up, what))


def fit(
    most: int, choices: Iterator[Cut], arrays: Callable[[AttentionRequest, int], Sequence[Array]], steps: int
) -> Cut:
    """The first of some requests whose arrays take at most `most` bytes.  steps: of the run.

    Raises `ConfigError` where not even a single step of the smallest does.
    """
    least: int | None = None
    for cut in choices:
        if cut.every > 2 * steps:
            break
        needed = total(arrays(cut.request, cut.every))
        least = needed if least is None else min(least, needed)
        if needed <= most:
            return cut
    short = f"attention does not fit into {size(most)}: the least is {size(least or 0)}"
    raise ConfigError(f"{short} — allow more, or choose fewer samples")
