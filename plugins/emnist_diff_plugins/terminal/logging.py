"""How the command line logs: to stderr, for people on a terminal, as JSON lines otherwise."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any

import attrs
import structlog

from emnist_diff import events
from emnist_diff.deprecation import EmnistDiffDeprecationWarning
from emnist_diff.printable import printable

FORMATS = ("auto", "human", "json")


@attrs.frozen
class Choices:
    """What the options of a command ask for.

    verbose: debug events too.  quiet: warnings and errors alone, and no progress.  format: one of `FORMATS`.
    tap: sees each event before it is written, and may keep it by `structlog.DropEvent`.
    """

    verbose: bool = False
    quiet: bool = False
    format: str = "auto"
    tap: structlog.types.Processor | None = None

    @property
    def human(self) -> bool:
        """Whether events are written for people."""
        return self.format == "human" or (self.format == "auto" and sys.stderr.isatty())


def configure(choices: Choices = Choices()) -> None:  # it is frozen
    """Set structlog up for this process."""
    human = choices.human
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            stamp,
            *([] if choices.tap is None else [choices.tap]),
            *(_for_people() if human else [structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if choices.verbose else logging.WARNING if choices.quiet else logging.INFO
        ),
        logger_factory=_to_stderr,
    )
    if warnings.showwarning is not _show:
        _others.append(warnings.showwarning)
        warnings.showwarning = _show  # type: ignore[assignment]  # it takes the same arguments


def _for_people() -> list[structlog.types.Processor]:
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    colors = sys.stderr.isatty() and not plain
    return [
        _on_one_line,
        structlog.dev.ConsoleRenderer(18, colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False),
    ]


def _on_one_line(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: texts of unknown origin must not command the terminal. JSON escapes them by itself."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


_others: list[Any] = []
"""What showed warnings before."""


def _show(message: Warning | str, category: type[Warning], *more: Any) -> None:
    """Log what is deprecated, without a line of the code that asked for it; all else is shown as before."""
    if issubclass(category, EmnistDiffDeprecationWarning):
        events.get_logger().warning("deprecated", what=str(message))
    else:
        _others[-1](message, category, *more)


def _to_stderr(*names: Any) -> structlog.PrintLogger:
    """A logger on what stderr is now: a progress bar puts itself in its place, to keep lines above the bar."""
    return structlog.PrintLogger(sys.stderr)
