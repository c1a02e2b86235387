"""Values of numpy and torch as plain ones, so that a configuration takes them and JSON holds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def scalar(value: Any) -> Any:
    """The flag, number or text in a numpy scalar, or in an array or tensor without axes; the text of a path; anything
    else as it is."""
    with suppress(AttributeError):  # neither library need be imported
        if value.shape == ():
            inner = value.item()
            return inner if isinstance(inner, bool | int | float | str) else value
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def scalars(data: Any) -> Any:
    """The same throughout tables, lists and tuples, which are copied."""
    if isinstance(data, Mapping):
        return {scalar(key): scalars(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(map(scalars, data)) if type(data) in (list, tuple) else data
    return scalar(data)
