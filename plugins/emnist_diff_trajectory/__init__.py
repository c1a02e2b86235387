"""The trajectory file: its schema, writer, reader and verifier. The normative page is docs/trajectory-format.md."""

from __future__ import annotations

from collections.abc import Iterable

from emnist_diff.hookspecs import hookimpl
from emnist_diff.records import Spec
from emnist_diff_trajectory.contract import ReaderSpec, WidgetSpec


@hookimpl
def emnist_diff_kinds() -> Iterable[type[Spec]]:
    yield ReaderSpec
    yield WidgetSpec


@hookimpl
def emnist_diff_readers() -> Iterable[ReaderSpec]:
    yield ReaderSpec(
        name="trajectory",
        factory=f"{__name__}.earlier:TrajectoryReader",
        summary="the configuration and environment that trajectory files record",
        place=0,
    )
