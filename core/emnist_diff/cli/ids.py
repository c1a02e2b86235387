"""Sample ids on the command line."""

from __future__ import annotations

import re

from emnist_diff.errors import ConfigError

_MOST = 1 << 22


def parse_ids(text: str | None, option: str = "--sample") -> list[int] | None:
    """The ids that ``3``, ``0-9`` or ``0-9,12`` mean; None for None. Raises `ConfigError`."""
    if text is None:
        return None
    out: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,12})(?:-(\d{1,12}))?\s*", part)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if not match or last < first or last - first >= _MOST:
            raise ConfigError(f"{option} {text!r}: expected ids such as 3, 0-9 or 0-9,12")
        out += range(first, last + 1)
    return out
