"""How far a run is: a dashboard or a bar on a terminal, else one log line a commit."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import structlog

from emnist_diff.cli.dashboard.terminal import can_draw

if TYPE_CHECKING:
    from emnist_diff.cli.dashboard.dashboard import Dashboard
    from emnist_diff.run import OnCommit

log = structlog.get_logger()


def choose(progress: bool, dashboard: bool) -> Dashboard | None:
    """The dashboard, where it was asked for and the terminal can show it; says why not where it cannot."""
    if not dashboard:
        return None
    if why := "--no-progress" if not progress else can_draw(sys.stderr):
        log.info("dashboard.not_shown", reason=why)
        return None
    from emnist_diff.cli.dashboard.dashboard import Dashboard

    return Dashboard(sys.stderr)


@contextlib.contextmanager
def shown(progress: bool, dashboard: Dashboard | None, total: int) -> Iterator[OnCommit]:
    """Show the progress of a run of `total` samples for as long as the context lasts; yields what is to be told of
    every commit."""
    if dashboard is not None:
        try:
            yield _line
        finally:
            dashboard.close()
    elif progress and not can_draw(sys.stderr):
        with _bar(total) as on_commit:
            yield on_commit
    else:
        yield _line


def _line(done: int, total: int) -> None:
    log.info("run.committed", done=done, total=total)


@contextlib.contextmanager
def _bar(total: int) -> Iterator[OnCommit]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sampling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sampling", total=total)
        yield lambda done, total: progress.update(task, completed=done)
