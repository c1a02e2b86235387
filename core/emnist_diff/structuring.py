"""From plain data (TOML, JSON, the command line) to attrs classes, with messages that survive.

A field's metadata may hold ``help`` (one line) and ``aliases`` (other spellings of its name, tuple of str).
Unknown keys are errors that suggest the nearest name; types are checked, never guessed: only an integer given for
a text field becomes text, because class names may be digits.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union

import attrs
import cattrs
from cattrs.errors import ClassValidationError, IterableValidationError

from emnist_diff.errors import ConfigError, EmnistDiffError, unknown

_T = TypeVar("_T")


def aliases(cls: type) -> dict[str, str]:
    """Every accepted spelling of a class's fields → the field's name."""
    table = {f.name: f.name for f in attrs.fields(cls) if f.init}
    for f in attrs.fields(cls):
        for spelling in f.metadata.get("aliases", ()):
            table.setdefault(spelling, f.name)
    return table


def structure(data: object, cls: type[_T], what: str) -> _T:
    """An instance of `cls` from plain data; `what` names it in messages (``force 'attract_class'``).

    Raises `ConfigError` naming key, value and the way out, and `UnknownName` for unknown keys.
    """
    try:
        return _converter().structure(_renamed(data, cls, what), cls)
    except EmnistDiffError as error:
        raise error
    except Exception as error:
        raise ConfigError(f"{what}: {'; '.join(_messages(error))}") from error


def unstructure(value: object) -> Any:
    """Plain JSON-ready data from an attrs instance; `structure` gives it back unchanged."""
    return _converter().unstructure(value)


def _renamed(data: object, cls: type, what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{what}: expected a table of settings, got {data!r}")
    table, out = aliases(cls), {}
    for key, value in data.items():
        if key not in table:
            raise unknown(f"setting of {what}:", str(key), table)
        if table[key] in out:
            raise ConfigError(f"{what}: {key!r} says again what another spelling of {table[key]!r} already said")
        out[table[key]] = value
    return out


def _messages(error: BaseException) -> list[str]:
    """One line per thing wrong, with the path to it."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        out = []
        for inner in error.exceptions:
            notes = [n for n in getattr(inner, "__notes__", []) if hasattr(n, "name") or hasattr(n, "index")]
            where = "".join(str(getattr(n, "name", None) or f"[{getattr(n, 'index', '')}]") for n in notes)
            out += [f"{where}: {m}" if where else m for m in _messages(inner)]
        return out
    text = str(error.args[0]) if error.args else str(error)
    return [" ".join(text.split()) or type(error).__name__]


def _number(value: object, _: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise TypeError(f"expected a finite number, got {value!r}")
    return number


def _integer(value: object, _: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {value!r}")
    return value


def _flag(value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value


def _text(value: object, _: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _union(value: object, target: Any) -> Any:
    """Strict unions: None for None, else the first member that takes the value."""
    members = typing.get_args(target)
    if value is None and type(None) in members:
        return None
    failures = []
    for member in members:
        if member is type(None):
            continue
        try:
            return _converter().structure(value, member)
        except Exception as error:  # the next member may take it
            failures += _messages(error)
    raise TypeError(" or ".join(failures))


def _is_union(target: Any) -> bool:
    return typing.get_origin(target) in (Union, types.UnionType)


_CONVERTER: list[cattrs.Converter] = []


def _converter() -> cattrs.Converter:
    if not _CONVERTER:
        converter = cattrs.Converter(forbid_extra_keys=True)
        converter.register_structure_hook(float, _number)
        converter.register_structure_hook(int, _integer)
        converter.register_structure_hook(bool, _flag)
        converter.register_structure_hook(str, _text)
        converter.register_structure_hook_func(_is_union, _union)
        converter.register_structure_hook_func(lambda t: t is Any or t is object, lambda value, _: value)
        _CONVERTER.append(converter)
    return _CONVERTER[0]
