"""Text out of a process whose locale knows few characters, as ``LC_ALL=C`` sets."""

from __future__ import annotations

import codecs
import sys

_HANDLER = "emnist_diff.escape"


def speak_any_locale() -> None:
    """Write what the locale cannot say as escapes, which are those of JSON, so that output that is JSON stays it."""
    codecs.register_error(_HANDLER, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end
