"""Short texts for objects that hold tensors, networks and long tables, as a person at a prompt wants to see them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from itertools import islice
from typing import Any, TypeVar

import attrs

_TEXT, _ITEMS, _FIELDS = 60, 4, 12
"""Characters of a text, items of a list or table, and fields of an object that are shown."""

_T = TypeVar("_T")


def briefly(cls: type[_T]) -> type[_T]:
    """A class decorator, above that of attrs: instances are shown by their names and values in brief, without those
    that are at their defaults."""
    cls.__repr__ = _fields  # type: ignore[method-assign]  # it takes any instance
    return cls


def brief(value: Any) -> str:
    """`value` on one line: of arrays, tensors and networks the kind and size, of long texts, lists and tables the
    beginning, of other things that are long the name."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str | bytes):
        text = repr(value)
        return text if len(text) <= _TEXT else f"{text[: _TEXT - 2]}…{text[-1]}"
    match value:  # neither numpy nor torch need be imported
        case object(shape=shape, dtype=dtype):
            axes = ", ".join(map(str, shape))
            return f"{str(dtype).removeprefix('torch.')}[{axes}]" if axes else repr(value)
        case object(parameters=parameters, state_dict=_):
            return f"{type(value).__name__} of {sum(p.numel() for p in parameters()):,} parameters"
    if isinstance(value, Mapping | Sequence | Set):
        items = value.items() if isinstance(value, Mapping) else ((item,) for item in value)
        parts = [": ".join(map(brief, item)) for item in islice(items, _ITEMS)]
        more = [f"… {len(value)} in all"] if len(value) > _ITEMS else []
        opening, closing = "{}" if isinstance(value, Mapping) else "()" if isinstance(value, tuple) else "[]"
        return f"{opening}{', '.join(parts + more)}{closing}"
    text = " ".join(repr(value).split())
    if len(text) <= _TEXT:
        return text
    return f"{type(value).__name__}(…)" if attrs.has(type(value)) else f"<{type(value).__name__}>"


def _fields(instance: Any) -> str:
    fields = [(f, getattr(instance, f.name, None)) for f in attrs.fields(type(instance)) if f.repr]
    parts = [f"{f.alias}={brief(value)}" for f, value in fields if not _is_default(value, f)]
    more = ["…"] if len(parts) > _FIELDS else []
    return f"{type(instance).__name__}({', '.join(parts[:_FIELDS] + more)})"


def _is_default(value: Any, field: Any) -> bool:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
        if default.takes_self:
            return False
        default = default.factory()
    try:
        return bool(type(value) is type(default) and value == default)
    except (RuntimeError, ValueError):  # arrays and tensors compare element by element
        return False
