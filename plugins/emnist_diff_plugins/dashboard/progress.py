"""How far a run is, on a terminal: a bar, or the dashboard."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import attrs

from emnist_diff.frames import BatchResult, Frame, Outcome, RunHeader
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.contract import Shown
from emnist_diff_plugins.dashboard.streams import can_draw

if TYPE_CHECKING:
    from emnist_diff_plugins.dashboard.dashboard import Dashboard


@attrs.frozen
class Progress:
    """A `contract.Display`: one line that moves."""

    def refusal(self) -> str | None:
        """Why stderr shows no bar; None where it does."""
        return can_draw(sys.stderr) or None

    def log(self) -> None:
        """The log goes on above the bar."""

    def show(self, total: int) -> AbstractContextManager[Shown]:
        """The bar, for a run of `total` samples."""
        return _bar(total)


@attrs.define
class DashboardDisplay:
    """A `contract.Display`: the whole terminal."""

    _dashboard: Any = attrs.field(init=False, default=None, eq=False)  # a `Dashboard`, made when it is shown

    def refusal(self) -> str | None:
        """Why the terminal cannot be taken over; None where it can."""
        return can_draw(sys.stderr) or None

    def log(self) -> Callable[..., Any]:
        """The dashboard's own log takes the lines while it is open."""
        return self._instance().log.event

    @contextlib.contextmanager
    def show(self, total: int) -> Iterator[Shown]:
        """The dashboard, which opens with the run's header."""
        try:
            yield Shown(None, (self._instance().sink,))
        finally:
            self._instance().close()

    def _instance(self) -> Dashboard:
        if self._dashboard is None:
            from emnist_diff_plugins.dashboard.dashboard import Dashboard  # which needs torch and rich

            self._dashboard = Dashboard(sys.stderr)
        dashboard: Dashboard = self._dashboard
        return dashboard


class _Steps:
    """A `Sink` that tells of every step: how many samples are in hand, and the share of their steps behind them."""

    def __init__(self, stepped: Callable[[int, float], None]) -> None:
        self._stepped = stepped

    def wants(self, at: StepInfo) -> frozenset[str]:
        return frozenset()

    def open(self, header: RunHeader) -> None:
        """It keeps no account."""

    def write(self, frame: Frame) -> None:
        self._stepped(len(frame.positions), (frame.at.index + 1) / frame.at.steps)

    def commit(self, batch: BatchResult) -> None:
        """Of which `Shown.on_commit` tells."""

    def close(self, outcome: Outcome) -> None:
        """It holds nothing."""


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Shown]:
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

        yield Shown(on_commit, (_Steps(stepped),))
