"""From plain data (TOML, JSON, the command line) to attrs classes, with messages that survive.

A field's metadata may hold ``help`` (one line), ``aliases`` (other spellings of its name, tuple of str),
``deprecated`` (what to use instead; whoever sets the field is warned), ``checked`` (its validator judges types too).
Unknown keys are errors that suggest the nearest name; types are checked, never guessed: only an integer given for
a text field becomes text, because class names may be digits.
"""

from __future__ import annotations

import functools
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, Union

import attrs
import cattrs
from cattrs.gen import mapping_structure_factory

from emnist_diff.deprecation import deprecated
from emnist_diff.errors import ConfigError, EmnistDiffError, blame, unknown
from emnist_diff.scalars import scalar
from emnist_diff.schedules import Schedule, schedule
from emnist_diff.shown import shown

_T = TypeVar("_T")


def aliases(cls: type) -> dict[str, str]:
    """Every accepted spelling of a class's fields → the field's name."""
    table = {f.name: f.name for f in attrs.fields(cls) if f.init}
    for f in attrs.fields(cls):
        for spelling in f.metadata.get("aliases", ()):
            table.setdefault(spelling, f.name)
    return table


def structure(data: object, cls: type[_T], what: str, beside: Iterable[str] = ()) -> _T:
    """An instance of `cls` from plain data; `what` names it in messages (``force 'attract_class'``).

    beside: what may be said beside the settings, for a misspelling of which these names are suggested too.

    Raises `ConfigError` naming key, value and the way out, or what is missing, and `UnknownName` for unknown keys.
    """

    def message(error: Exception) -> str:
        reasons = (reason.removeprefix(f"{cls.__name__}: ") for reason in _messages(error))  # `what` names it better
        return f"{what}: {'; '.join(reasons)}"

    with blame(ConfigError, message):
        return _converter().structure(_renamed(data, cls, what, beside), cls)


def as_written(cls: type[_T]) -> type[_T]:
    """A class decorator: a constructor takes and refuses what `structure` takes and refuses for the class, with other
    spellings of its fields, and `ConfigError` for every mistake."""
    attrs_class: Any = cls
    initialise = attrs_class.__init__

    @functools.wraps(initialise)
    def init(self: Any, **settings: Any) -> None:
        given = _renamed(settings, cls, cls.__name__, ())
        for field in attrs.fields(attrs_class):
            if field.name in given and not field.metadata.get("checked"):
                given[field.name] = _given(cls, field, given[field.name])
        try:
            initialise(self, **given)
        except EmnistDiffError:
            raise
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{cls.__name__}: {'; '.join(_messages(error))}") from error

    attrs_class.__init__ = init
    return cls


def _given(cls: type, field: Any, value: Any) -> Any:
    """The value of one field as its type wants it, where that is plain data."""
    value = value if field.converter is None else field.converter(value)
    hint = hints(cls)[field.name]
    if not _is_plain(hint):
        return value
    with blame(ConfigError, lambda error: f"{cls.__name__}: {field.name}: {'; '.join(_messages(error))}"):
        return _converter().structure(value, hint)


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """The types of a class's fields, by name."""
    return typing.get_type_hints(cls)


def _is_plain(target: Any) -> bool:
    """Whether a type is one of text, numbers, flags and None, or a choice or table of these."""
    members = typing.get_args(target)
    if _is_union(target) or _is_table(target):
        return all(map(_is_plain, members))
    return target in (str, int, float, bool, type(None)) or _is_literal(target)


def unstructure(value: object) -> Any:
    """Plain JSON-ready data from an attrs instance; `structure` gives it back unchanged."""
    return _converter().unstructure(value)


def _renamed(data: object, cls: type, what: str, beside: Iterable[str]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{what}: expected a table of settings, got {shown(data)}")
    table, out = aliases(cls), {}
    for key, value in data.items():
        if key not in table:
            raise unknown(f"setting of {what}:", str(key), [*table, *beside])
        if table[key] in out:
            raise ConfigError(f"{what}: {key!r} repeats another spelling of {table[key]!r}")
        out[table[key]] = value
    for field in attrs.fields(cls):
        if field.name in out and "deprecated" in field.metadata:
            deprecated(f"setting {field.name!r} of {what}", field.metadata["deprecated"], stacklevel=4)
    required = [f for f in attrs.fields(cls) if f.init and f.default is attrs.NOTHING and f.name not in out]
    if required:
        wanted = ", ".join(f"{f.name} ({f.metadata['help']})" if "help" in f.metadata else f.name for f in required)
        raise ConfigError(f"{what} needs {wanted}")
    return out


def _messages(error: BaseException) -> list[str]:
    """One line per thing wrong, with the path to it: ``forces[0].weight: expected a number, …``."""
    out = []
    for line in cattrs.transform_error(error, path="", format_exception=_reason):
        message, _, place = line.rpartition(" @ ")
        out.append(f"{place.lstrip('.')}: {message}" if place else message)
    return out


def _reason(error: BaseException, _: object) -> str:
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return str(unknown("setting", min(error.extra_fields), aliases(error.cl)))
    return " ".join(str(error.args[0] if error.args else error).split()) or type(error).__name__


_PLAIN: dict[type, tuple[Any, str]] = {
    float: ((int, float), "a number"),
    int: (int, "a whole number"),
    bool: (bool, "true or false"),
    str: ((str, int), "text"),
}
"""The plain types, with what each is made of and what messages call it."""


def _plain(value: Any, target: type) -> Any:
    """A value of a plain type. Nothing is guessed, but a whole number may stand for a float or for text."""
    value = scalar(value)
    accepted, name = _PLAIN[target]
    if not isinstance(value, accepted) or (isinstance(value, bool) and target is not bool):
        raise TypeError(f"expected {name}, got {shown(value)}")
    if target is int and not -(2**63) <= value < 2**63:
        raise TypeError(f"expected a whole number of 64 bits, got {shown(value)}")
    if target is float and not -sys.float_info.max <= value <= sys.float_info.max:
        raise TypeError(f"expected a finite number, got {shown(value)}")
    return value if isinstance(value, target) else target(value)


def _one_of(value: object, target: Any) -> Any:
    value = scalar(value)
    known = typing.get_args(target)
    if not any(type(value) is type(one) and value == one for one in known):
        raise TypeError(f"expected {', '.join(known[:-1])}{' or ' if known[1:] else ''}{known[-1]}, got {shown(value)}")
    return value


def _list(target: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Makes a tuple from a list: text is no list of its letters."""
    whole: Any = types.GenericAlias(list, typing.get_args(target)[:1])

    def structured(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise TypeError(f"expected a list, got {shown(value)}")
        return tuple(converter.structure(value, whole))

    return structured


def _table(target: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    whole: Any = mapping_structure_factory(target, converter)  # a dict, whatever kind of mapping is wanted

    def structured(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected a table, got {shown(value)}")
        return whole(value, dict)

    return structured


def _union(value: object, target: Any) -> Any:
    """Strict unions: None for None, else the first member that takes the value."""
    members = [member for member in typing.get_args(target) if member is not type(None)]
    if value is None and len(members) < len(typing.get_args(target)):
        return None
    if len(members) == 1 and attrs.has(members[0]) and not isinstance(value, Mapping | members[0]):
        raise TypeError(f"expected a table, got {shown(value)}")
    if len(members) == 1:
        return _converter().structure(value, members[0])
    failures = []
    for member in members:
        try:
            return _converter().structure(value, member)
        except Exception as error:  # the next member may take it
            failures += _messages(error)
    raise TypeError(" or ".join(failures))


def _is(*origins: Any) -> Callable[[Any], bool]:
    """A check whether a type is one of these with something in brackets."""
    return lambda target: typing.get_origin(target) in origins


_is_union, _is_literal, _is_table = _is(Union, types.UnionType), _is(Literal), _is(dict, Mapping)


def _is_schedule(target: Any) -> bool:
    return isinstance(target, type) and issubclass(target, Schedule)


def _is_list(target: Any) -> bool:
    return typing.get_origin(target) is tuple and typing.get_args(target)[1:] == (...,)


def _is_function(target: Any) -> bool:
    functions = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
    return typing.get_origin(target) is Callable or (isinstance(target, type) and issubclass(target, functions))


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in _PLAIN:
        converter.register_structure_hook(kind, _plain)
    converter.register_structure_hook_factory(_is_list, _list)
    converter.register_structure_hook_factory(_is_table, _table)
    converter.register_structure_hook_func(_is_union, _union)
    converter.register_structure_hook_func(_is_literal, _one_of)
    converter.register_structure_hook_func(lambda t: t is Any or t is object, lambda value, _: value)
    converter.register_structure_hook_func(_is_schedule, lambda value, _: schedule(value))
    converter.register_unstructure_hook_func(_is_schedule, lambda value: value.to_data())
    converter.register_unstructure_hook_func(_is_function, lambda value: schedule(value).to_data())
    return converter
