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


def brief(value: Any, deep: bool = False) -> str:
    """`value` on one line: of arrays, tensors and networks the kind and size, of long texts, lists and tables the
    beginning, of objects within objects, unless `deep`, the name."""
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
    if isinstance(value, Mapping):
        return _several([f"{brief(k)}: {brief(v)}" for k, v in islice(value.items(), _ITEMS)], len(value), "{}")
    if isinstance(value, Sequence | Set):
        return _several(
            [brief(item) for item in islice(value, _ITEMS)], len(value), "()" if isinstance(value, tuple) else "[]"
        )
    if attrs.has(type(value)):
        return _fields(value) if deep else f"{type(value).__name__}(…)"
    text = " ".join(repr(value).split())
    return text if len(text) <= _TEXT else f"<{type(value).__name__}>"


def _several(shown: list[str], count: int, around: str) -> str:
    more = f", … {count} in all" if count > len(shown) else ""
    return f"{around[0]}{', '.join(shown)}{more}{around[1]}"


def _fields(instance: Any) -> str:
    parts = []
    for field in attrs.fields(type(instance)):
        value = getattr(instance, field.name, None)
        if field.repr and not _is_default(value, field):
            parts.append(f"{field.alias}={_small(value)}")
    more = ", …" if len(parts) > _FIELDS else ""
    return f"{type(instance).__name__}({', '.join(parts[:_FIELDS])}{more})"


def _small(value: Any) -> str:
    """A field's value: an object that is small is shown itself, as a component with its settings is."""
    text = brief(value)
    if text.endswith("(…)") and len(whole := " ".join(repr(value).split())) <= _TEXT:
        return whole
    return text


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
