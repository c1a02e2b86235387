"""Whether a stream can be drawn on; it is asked by runs that draw nothing, and needs no library."""

from __future__ import annotations

import os
from typing import TextIO


def can_draw(stream: TextIO) -> str:
    """Why nothing can be drawn on `stream`: no terminal, one that obeys no control codes or lacks
    the characters, one that another job has; or an empty string."""
    if not stream.isatty():
        return "stderr is no terminal"
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return f"the terminal is {os.environ['TERM']!r}"
    if not (stream.encoding or "").lower().replace("-", "").startswith("utf"):
        return f"the terminal takes {stream.encoding}, not UTF-8"
    if not in_foreground(stream):
        return "this is a background job"
    return ""


def in_foreground(stream: TextIO) -> bool:
    """Whether this process may draw on the terminal `stream` and change its modes."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (AttributeError, OSError):  # Windows; a terminal that controls no process
        return True
