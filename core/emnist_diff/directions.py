"""What a positive number makes a component do, where its name says a direction: a force named *repel* repels."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Direction:
    """What a positive number makes a component do.

    does: that, for messages, as ``pushes away``.  instead: what to use for the opposite.
    repeated: whether a minus says the same as the name, so that a negative number is read as its magnitude; else it is
    refused.
    """

    does: str
    instead: str
    repeated: bool = False


Directions = Mapping[str, Direction]
"""Of a component: its numbers that have a direction, by setting, and ``weight`` for the weight that a run gives it."""
