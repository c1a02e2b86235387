"""Numbers of a run: of every step and every sample, while it goes on and from its file, by the same code."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import SinkSpec


@hookimpl
def emnist_diff_sinks() -> Iterable[SinkSpec]:
    yield SinkSpec(
        name="metrics",
        factory=f"{__name__}.sink:MetricsSink",
        summary="numbers of every step and sample: metrics/video_metrics.csv, step_metrics.csv",
        flag="metrics",
    )
