"""Text of unknown origin on a terminal: names in files, values of settings, what plugins say of themselves."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` on one line, with escapes for whatever a terminal would obey or could not encode."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
