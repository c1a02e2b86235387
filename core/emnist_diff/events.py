"""The log of this package, which an application hears when it wants to.

A library says nothing of its own accord. Events go to structlog where the application has configured it, as the
command line does, and else to the standard library's logger ``emnist_diff``, which has no handler until the application
gives it one::

    logging.basicConfig(level=logging.INFO)   # or: structlog.configure(…)

Each event is a name, ``run.started``, and values. A record of the standard library has them as text in its message, and
as `record.event` and `record.values`.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

_LIBRARY = logging.getLogger("emnist_diff")
_LIBRARY.addHandler(logging.NullHandler())  # without one, Python would print warnings

_BETWEEN = 4
"""Frames from the standard library's logger to the line that logs, of which three are structlog's."""


def _as_record(logger: Any, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """The last processor: arguments for a method of the standard library's logger."""
    exception = event.pop("exc_info", None)
    name, values = str(event.pop("event", "")), dict(event)
    text = " ".join([name, *(f"{key}={value!r}" for key, value in values.items())])
    more = {"exc_info": exception, "extra": {"event": name, "values": values}, "stacklevel": _BETWEEN}
    return (text,), more


class _Events:
    """A structlog logger that asks at each event who hears it."""

    def __init__(self) -> None:
        self._application = structlog.get_logger()
        self._library = structlog.wrap_logger(
            _LIBRARY,
            processors=[structlog.stdlib.filter_by_level, _as_record],
            wrapper_class=structlog.stdlib.BoundLogger,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._application if structlog.is_configured() else self._library, name)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger for modules of this package and of plugins; it has structlog's methods: `info`, `warning`, …"""
    return cast(structlog.typing.FilteringBoundLogger, _Events())
