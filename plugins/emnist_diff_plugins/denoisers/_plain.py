"""Plain data out of what a stranger's pickle made."""

from __future__ import annotations

import math
from typing import Any

import attrs


@attrs.define
class PlainCopy:
    """Copies what JSON can say: text, numbers, and tables and lists of them, into Python's own types.

    `room` is how many things and characters it will copy in all: a few bytes of pickle can hold a list of a list of …
    that unfolds to more than any memory. Raises `ValueError` for anything else.
    """

    room: int = 1_000_000

    def __call__(self, value: Any, depth: int = 4) -> Any:
        self.room -= 1
        if self.room < 0:
            raise ValueError("too large")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and abs(value) < 2**63:
            return int(value)
        if isinstance(value, float) and math.isfinite(value):
            return float(value)
        if isinstance(value, str):
            self.room -= len(value.encode())  # text that is no Unicode raises
            return str(value)
        # the methods are the types' own: a pickle can hang attributes of the same names on what it makes
        if isinstance(value, dict) and depth > 0:
            return {self._name(key): self(item, depth - 1) for key, item in dict.items(value)}
        if isinstance(value, list | tuple) and depth > 0:
            return [self(item, depth - 1) for item in value]
        raise ValueError("not plain")

    def _name(self, key: object) -> str:
        if not isinstance(key, str):
            raise ValueError("not plain")
        return str(self(key))
