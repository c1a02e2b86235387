"""How large what is captured becomes, known before anything is captured, and what makes it smaller."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.frames import RunHeader
from emnist_diff_plugins.capacity import size
from emnist_diff_trajectory.attention import AttentionRequest
from emnist_diff_trajectory.schema import BEFORE, Array

_SMALLEST = 4
"""The longest side of a map below which it is not halved."""
_NOTE = 512
"""Bytes of what a file says of what was given up, at most."""


def table(arrays: Sequence[Array]) -> list[str]:
    """Lines for people: what takes how much, the largest first, and the sum."""
    rows = sorted(arrays, key=lambda array: -array.size)
    width = max((len(array.name) for array in rows), default=0)
    lines = [
        f"  {array.name:<{width}}  {array.dtype:<8} {'×'.join(map(str, array.shape)):<28} {size(array.size)}"
        for array in rows
    ]
    return [*lines, f"  {'in all':<{width}}  {'':<8} {'':<28} {size(total(arrays))}"]


def total(arrays: Iterable[Array]) -> int:
    """Bytes."""
    return sum(array.size for array in arrays)


def too_large(arrays: Sequence[Array], most: int, fewer: str) -> ConfigError:
    """The refusal of what takes more than `most` bytes.  fewer: of what one can choose fewer."""
    largest = max(arrays, key=lambda array: array.size)
    return ConfigError(
        f"this takes {size(total(arrays))}, {largest.name} alone {size(largest.size)}, which is more than {size(most)} "
        f"— use --fit to keep less, or choose fewer {fewer}"
    )


def noted(header: RunHeader, given_up: Sequence[str]) -> RunHeader:
    """The header of a file for which something was given up, which its environment says."""
    environment = {**header.environment, "given_up": list(given_up)}
    return attrs.evolve(header, environment=environment) if given_up else header


@attrs.frozen
class Cut:
    """A request for attention made smaller; None where there is none.  every: of the steps."""

    request: AttentionRequest | None
    every: int


def choices(denoiser: Any, request: AttentionRequest | None, every: int) -> Iterator[Cut]:
    """`cuts` of what is requested of a network; without attention, ever fewer steps.  denoiser: an `Inside`, where
    attention is requested."""
    if request is None:
        return (Cut(None, every << times) for times in count())
    layers = denoiser.attention(attrs.evolve(request, layers=()))
    return cuts(request, every, [layer.name for layer in layers], {kind for layer in layers for kind in layer.kinds})


def cuts(request: AttentionRequest, every: int, stratified: Sequence[str], kinds: Collection[str]) -> Iterator[Cut]:
    """The request itself, and ever smaller ones: the mean of the heads, no attention among places, half the resolution,
    every second step, one layer a block; then ever lower resolutions and fewer steps.

    stratified: names of the layers that one a block are.  kinds: of attention, that the network has.
    """
    yield Cut(request, every)
    if request.heads == "all":
        request = attrs.evolve(request, heads="mean")
        yield Cut(request, every)
    if set(request.kinds) == {"cross", "self"} <= set(kinds):
        request = attrs.evolve(request, kinds=("cross",))
        yield Cut(request, every)
    once = True
    while True:
        if max(request.resolution, request.self_resolution) > _SMALLEST:
            lower = {key: max(_SMALLEST, getattr(request, key) // 2) for key in ("resolution", "self_resolution")}
            request = attrs.evolve(request, **lower)
            yield Cut(request, every)
        every *= 2
        yield Cut(request, every)
        if once and request.layers:
            request = attrs.evolve(request, layers=tuple(stratified))
            yield Cut(request, every)
        once = False


def fit(
    most: int, choices: Iterator[Cut], arrays: Callable[[AttentionRequest | None, int], Sequence[Array]], steps: int
) -> tuple[Cut, tuple[str, ...]]:
    """The first of some requests whose arrays take at most `most` bytes, and what was given up for it, in order. A cut
    that makes nothing smaller is left out.  steps: of the run.

    Raises `ConfigError` where not even a single step of the smallest does.
    """
    kept: Cut | None = None
    least, in_all, given_up = 0, 0, dict[str, str]()
    for cut in choices:
        if cut.every > 2 * steps:
            break
        held = arrays(cut.request, cut.every)
        needed = total(array for array in held if array.name != BEFORE)
        if kept is not None:
            if needed >= least:
                if kept.every == cut.every and needed == least:  # nothing is that large, or there are no heads to join
                    kept = cut
                continue
            given_up |= _given_up(kept, cut, held)
        kept, least = cut, needed
        in_all = total(held) + (_NOTE if given_up else 0)
        if in_all <= most:
            return cut, tuple(given_up.values())
    raise ConfigError(
        f"what is recorded does not fit into {size(most)}: the least is {size(in_all)} — allow more, or choose fewer "
        "samples or fields"
    )


def _given_up(before: Cut, after: Cut, held: Sequence[Array]) -> dict[str, str]:
    """What people are told of a step from one request to a smaller one, which keeps these arrays, by what it is of."""
    one, other, out = before.request, after.request, dict[str, str]()
    if before.every != after.every:
        out["every"] = f"steps that {after.every} does not divide"
    if one is None or other is None:
        return out
    if one.heads != other.heads:
        out["heads"] = "heads apart from each other (only their mean is kept)"
    if one.kinds != other.kinds:
        out["kinds"] = "attention among places"
    if (one.resolution, one.self_resolution) != (other.resolution, other.self_resolution):
        sides = [side for array in held if array.name.endswith((".cross", ".self")) for side in array.shape[-2:]]
        out["resolution"] = f"maps of more than {max(sides)} places a side"
    if one.layers != other.layers:
        out["layers"] = "all but one layer a block"
    return out
