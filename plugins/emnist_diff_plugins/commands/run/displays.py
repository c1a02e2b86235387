"""What shows how far a run is: a display that a plugin brings, or else one log line a commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.events import get_logger
from emnist_diff.plugins import Registry
from emnist_diff_plugins.contract import Display, DisplaySpec, Shown

log = get_logger()


def chosen(registry: Registry, progress: bool, requested: Iterable[str]) -> Display | None:
    """The display of a run: the one that was requested, else the default; None where the log alone shows its progress.

    progress: whether to show any. Where a requested one cannot be shown, the log says why.
    """
    for name in requested:
        display: Display = make(registry, DisplaySpec, ComponentConfig(name)).object
        why = display.refusal() if progress else "--no-progress"
        if not why:
            return display
        log.info("display.not_shown", display=name, reason=why)
    for entry in registry.of(DisplaySpec) if progress else ():
        if entry.spec.default:
            display = make(registry, DisplaySpec, ComponentConfig(entry.qualified)).object
            if display.refusal() is None:
                return display
    return None


@contextmanager
def showing(display: Display | None, total: int) -> Iterator[Shown]:
    """Show the progress of a run of `total` samples for as long as the context lasts; yields who hears of it."""
    if display is None:
        yield Shown(_line)
        return
    with display.show(total) as shown:
        yield shown if shown.on_commit is not None else attrs.evolve(shown, on_commit=_line)


def _line(done: int, total: int) -> None:
    log.info("run.committed", done=done, total=total)
