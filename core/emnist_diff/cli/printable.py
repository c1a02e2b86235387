"""Text of unknown origin on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, with escapes for whatever a terminal would obey or could not encode."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
