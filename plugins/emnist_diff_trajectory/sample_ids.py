"""Sample ids as people type them."""

from __future__ import annotations

import re

from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown

MOST_SAMPLES = 1 << 22
"""The most samples of a file, and so of one worker of a run."""


def sample_ids(text: str | None, option: str = "--sample") -> list[int] | None:
    """The ids that ``3``, ``0-9`` or ``0-9,12`` mean; None for None.

    Raises `ConfigError` naming the option for anything else, and for more ids than a run can have samples.
    """
    if text is None:
        return None
    out: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,12})(?:-(\d{1,12}))?\s*", part)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        if not match or last < first or last - first >= MOST_SAMPLES - len(out):
            raise ConfigError(f"{option} {shown(text)}: expected ids such as 3, 0-9 or 0-9,12")
        out += range(first, last + 1)
    return out
