"""Seeds that nobody chose: ``random`` in place of a number."""

from __future__ import annotations

from typing import Any

from emnist_diff.scalars import scalar

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
