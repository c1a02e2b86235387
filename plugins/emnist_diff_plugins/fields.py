"""Fields of settings: a value, a sentence of help, and what is allowed."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import validators as v


def setting(default: Any, help: str, validator: Any = None, converter: Any = None) -> Any:
    """A field with a sentence of help."""
    return attrs.field(default=default, converter=converter, validator=validator, metadata={"help": help})


def between(low: int, high: int) -> Any:
    """A validator of whole numbers."""
    return v.and_(v.ge(low), v.le(high))
