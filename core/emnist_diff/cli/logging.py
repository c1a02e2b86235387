"""How the command line logs: to stderr, for people on a terminal, as JSON lines otherwise."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

import structlog

from emnist_diff.deprecation import EmnistDiffDeprecationWarning


def configure(verbose: bool = False, tap: structlog.types.Processor | None = None) -> None:
    """Set structlog up for this process. `verbose` also shows debug events; `tap` sees each event before it is
    written, and may keep it by `structlog.DropEvent`."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=not plain) if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if tap is None else [tap]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=_to_stderr,
    )
    if warnings.showwarning is not _show:
        _others.append(warnings.showwarning)
        warnings.showwarning = _show  # type: ignore[assignment]  # it takes the same arguments


_others: list[Any] = []
"""What showed warnings before."""


def _show(message: Warning | str, category: type[Warning], *more: Any) -> None:
    """Log what is deprecated, without a line of the code that asked for it; all else is shown as before."""
    if issubclass(category, EmnistDiffDeprecationWarning):
        structlog.get_logger().warning("deprecated", what=str(message))
    else:
        _others[-1](message, category, *more)


def _to_stderr(*names: Any) -> structlog.PrintLogger:
    """A logger on what stderr is now: a progress bar puts itself in its place, to keep lines above the bar."""
    return structlog.PrintLogger(sys.stderr)
