"""What objectives share."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor


def setting(default: Any, help: str, validator: Any = None) -> Any:
    """A field with a sentence of help."""
    return attrs.field(default=default, validator=validator, metadata={"help": help})


def like(values: Tensor, x: Tensor) -> Tensor:
    """One number a sample, (B,), so that it multiplies x (B, *shape)."""
    return values.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))
