"""What commands print for people."""

from __future__ import annotations

import sys

from emnist_diff.printable import printable


def echo(line: str = "", err: bool = False) -> None:
    """Print one line, `printable`, on stdout or on stderr. All that commands print for people goes through this, except
    pictures that are made of colours."""
    print(printable(line), file=sys.stderr if err else sys.stdout)
