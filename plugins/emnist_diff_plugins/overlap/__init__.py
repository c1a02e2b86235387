"""What a run does beside the thread that computes: noise drawn ahead, and sinks at work."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import OverlapSpec


@hookimpl
def emnist_diff_overlaps() -> Iterable[OverlapSpec]:
    yield OverlapSpec(
        name="threads",
        factory=f"{__name__}.threads:Threads",
        summary="noise is drawn ahead and sinks record in threads of their own",
        default=True,
    )
