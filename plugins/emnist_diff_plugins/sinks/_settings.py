"""Settings that several sinks have."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import validators as v

from emnist_diff.shown import shown


def samples_setting(what: str = "which samples") -> Any:
    """Of which samples a sink keeps something. `what`: the beginning of its help."""
    return attrs.field(
        default=None,
        validator=_check_samples,
        metadata={"help": f"{what}: a list of ids, or a number for the first so many; all when left out"},
    )


def every_setting(what: str = "every k-th step, from the first; the final state always") -> Any:
    """Of which steps a sink keeps something. `what`: its help."""
    return attrs.field(default=1, validator=v.ge(1), metadata={"help": what})


def _check_samples(instance: object, attribute: object, value: int | tuple[int, ...] | None) -> None:
    numbers = value if isinstance(value, tuple) else () if value is None else (value,)
    if any(number < 0 for number in numbers) or value == ():
        raise ValueError(f"samples must be ids, 0 or more, got {shown(value)}")
