"""How far a run is: a dashboard or a bar on a terminal, else one log line a commit."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attrs

from emnist_diff.cli.dashboard.terminal import can_draw
from emnist_diff.events import get_logger
from emnist_diff.protocols import BatchResult, Field, Frame, Outcome, RunHeader, Sink, StepInfo

if TYPE_CHECKING:
    from emnist_diff.cli.dashboard.dashboard import Dashboard
    from emnist_diff.run import OnCommit

log = get_logger()


def choose(progress: bool, dashboard: bool) -> Dashboard | None:
    """The dashboard, where it was asked for and the terminal can show it; says why not where it cannot."""
    if not dashboard:
        return None
    if why := "--no-progress" if not progress else can_draw(sys.stderr):
        log.info("dashboard.not_shown", reason=why)
        return None
    from emnist_diff.cli.dashboard.dashboard import Dashboard

    return Dashboard(sys.stderr)


@attrs.frozen
class Told:
    """What a run is to tell of: every commit, and what `sinks` see."""

    on_commit: OnCommit
    sinks: tuple[Sink, ...] = ()


@contextlib.contextmanager
def shown(progress: bool, dashboard: Dashboard | None, total: int) -> Iterator[Told]:
    """Show the progress of a run of `total` samples for as long as the context lasts; yields what is to be told."""
    if dashboard is not None:
        try:
            yield Told(_line, (dashboard.sink,))
        finally:
            dashboard.close()
    elif progress and not can_draw(sys.stderr):
        with _bar(total) as told:
            yield told
    else:
        yield Told(_line)


def _line(done: int, total: int) -> None:
    log.info("run.committed", done=done, total=total)


class _Steps:
    """A `Sink` that tells of every step: how many samples are in hand, and the share of their steps behind them."""

    def __init__(self, stepped: Callable[[int, float], None]) -> None:
        self._stepped = stepped

    def wants(self, at: StepInfo) -> frozenset[Field]:
        return frozenset({Field.X})  # it is at hand; of a step of which nothing is wanted nothing is told

    def open(self, header: RunHeader) -> None:
        """It keeps no account."""

    def write(self, frame: Frame) -> None:
        self._stepped(len(frame.positions), (frame.at.index + 1) / frame.at.steps)

    def commit(self, batch: BatchResult) -> None:
        """Of which `Told.on_commit` tells."""

    def close(self, outcome: Outcome) -> None:
        """It holds nothing."""


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    count = TextColumn("{task.fields[done]}/{task.total:.0f}")
    columns = (TextColumn("sampling"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sampling", total=total, done=0)
        committed, furthest = 0, 0.0

        def move(to: float) -> None:
            nonlocal furthest
            furthest = max(furthest, to)  # of a commit one may hear after the first step of the next batch
            progress.update(task, completed=furthest)

        def stepped(batch: int, share: float) -> None:
            move(committed + batch * share)

        def on_commit(done: int, total: int) -> None:
            nonlocal committed
            committed = done
            move(done)
            progress.update(task, done=done)

        yield Told(on_commit, (_Steps(stepped),))
