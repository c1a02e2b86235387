"""Settings as TOML, the way a person would write them into a configuration file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def written(settings: Mapping[str, Any]) -> str:
    """A TOML document with these keys. What is None is left out: TOML has no word for it.

    Raises `ValueError` for what TOML cannot say.
    """
    return "".join(f"{_text(key)} = {_value(value)}\n" for key, value in settings.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        inside = (f"{_text(str(key))} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{{', '.join(inside)}}}"
    raise ValueError(f"TOML cannot say {value!r}")


def _text(text: str) -> str:
    """A basic string; the escapes of JSON are TOML's, but for the one character that JSON leaves alone."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
