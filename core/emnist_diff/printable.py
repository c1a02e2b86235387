"""Text of unknown origin on a terminal: names in files, values of settings, what plugins say of themselves."""

from __future__ import annotations

import sys


def printable(text: str) -> str:
    """`text` on one line, with escapes for whatever a terminal would obey or could not encode."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def echo(line: str = "", err: bool = False) -> None:
    """Print one line, `printable`, on stdout or on stderr. All that commands print for people goes through this, except
    pictures that are made of colours."""
    print(printable(line), file=sys.stderr if err else sys.stdout)
