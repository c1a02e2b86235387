"""Settings that many forces have."""

from __future__ import annotations

from typing import Any

import attrs
from emnist_diff.schedules import schedule


def scalar_field(default: float, help: str, aliases: tuple[str, ...] = ()) -> Any:
    """A number, or a schedule of them over the run."""
    return attrs.field(default=default, converter=schedule, metadata={"help": help, "aliases": aliases})
