"""Seeds that nobody chose: ``random`` in place of a number."""

from __future__ import annotations

import re
from typing import Any

from emnist_diff.errors import ConfigError
from emnist_diff.scalars import scalar
from emnist_diff.shown import shown

RANDOM = "random"
"""What stands for a seed that is to be drawn."""

_BELOW = 1 << 32
"""Short enough to be typed again."""


class DrawnSeed(int):
    """A seed that was drawn, once, when its configuration was made. A run that continues another takes the other's."""


def seed(value: Any) -> Any:
    """A drawn seed for ``"random"``; anything else as it is."""
    if not (isinstance(value, str) and value == RANDOM):
        return scalar(value)
    import secrets  # which no other configuration needs

    return DrawnSeed(secrets.randbelow(_BELOW))


def typed(text: str, option: str) -> int | str:
    """The seed that somebody typed: a whole number or ``random``. Raises `ConfigError` for anything else."""
    if text == RANDOM:
        return text
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,40}\s*", text):
        raise ConfigError(f"{option} {shown(text)}: expected a whole number, or {RANDOM} for one that is drawn")
    return int(text)
