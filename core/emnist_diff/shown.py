"""Values of unknown origin in messages: short, on one line, and without an error of their own."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST_VALUE = 200
LONGEST_MESSAGE = 2000
"""Characters."""


def shortened(text: str, most: int = LONGEST_MESSAGE) -> str:
    """`text`, or its beginning and its end where it has more than `most` characters: messages begin with what is
    wrong and end with the way out."""
    if len(text) <= most:
        return text
    head = (most - 3) * 2 // 3
    return f"{text[:head]} … {text[head + 3 - most :]}"


def shown(value: object) -> str:
    """``repr(value)`` as far as a message has a use for it, whatever the value is.

    Long text, long lists and deep nesting are cut before they are written out, so that showing megabytes costs
    nothing; what cannot be written out is named by its type.
    """
    try:
        return shortened(_SHORT.repr(value), LONGEST_VALUE)
    except Exception:  # a stranger's object may raise anything
        return f"<{type(value).__name__}>"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 6
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = 24
        self.maxstring = self.maxlong = self.maxother = LONGEST_VALUE
        self.maxarray = 6

    def repr_int(self, x: int, level: int) -> str:
        """Python writes no decimal of more than 4300 digits."""
        return repr(x) if x.bit_length() < 400 else f"<a whole number of {x.bit_length()} bits>"

    def repr_dict(self, x: Any, level: int) -> str:
        """In the order of the table, and not sorted as `reprlib` does."""
        if not x:
            return "{}"
        if level <= 0:
            return "{...}"
        parts = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in list(x.items())[: self.maxdict]]
        return "{" + ", ".join([*parts, *(["..."] if len(x) > self.maxdict else [])]) + "}"


_SHORT = _Short()
