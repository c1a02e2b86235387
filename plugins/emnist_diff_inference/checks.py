"""Fields of configuration that check themselves, however they are filled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.paths import local_path
from emnist_diff.scalars import scalar
from emnist_diff.schedules import Schedule
from emnist_diff.shown import shown

Check = Callable[[object], str | None]
"""Says what a value must be, or None when it is that."""


def setting(default: Any, help: str, check: Check, **more: Any) -> Any:
    """A field with a help line; a value that fails `check` is a `ConfigError` naming class, field and value.

    None is allowed where it is the default. Among `more`: ``converter``; ``aliases``, other spellings in files;
    ``later``, the way out for a feature that is not there yet, for which any value but the default is refused when
    samples are to be made; ``written``, the flag of the sink that makes a run write what is asked for; ``kept``, where
    that is kept in memory as well.
    """
    converter = more.pop("converter", _as_text if check in (text, named) else scalar)
    validator = _validator(check, default is None)
    metadata = {"help": help, "checked": True, **more}
    return attrs.field(default=default, validator=validator, converter=converter, metadata=metadata)


def _as_text(value: Any) -> Any:
    """Text also from a whole number, for the name of a class may be a digit."""
    value = scalar(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _validator(check: Check, optional: bool) -> Callable[[Any, Any, Any], None]:
    def validate(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is None and optional:
            return
        if wrong := check(value):
            raise ConfigError(f"{type(instance).__name__}.{attribute.name} = {shown(value)}: must be {wrong}")

    return validate


def whole(low: int | None = None, below: int | None = None) -> Check:
    """A whole number from `low`, and less than `below`."""
    limit = "" if low is None else f", at least {low}" if below is None else f", from {low} to {below - 1}"

    def check(value: object) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"a whole number{limit}"
        fits = (low is None or low <= value) and (below is None or value < below)
        return None if fits else f"a whole number{limit}"

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A finite number in [low, high]."""
    limits = "" if low == -math.inf else f", at least {low:g}" if high == math.inf else f" from {low:g} to {high:g}"

    def check(value: object) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):  # a whole number beyond all floats
                if math.isfinite(value) and low <= value <= high:
                    return None
        return f"a finite number{limits}"

    return check


def positive(value: object) -> str | None:
    """A finite number more than 0."""
    return "a finite number, more than 0" if number(math.ulp(0.0))(value) else None


def flag(value: object) -> str | None:
    """True or False."""
    return None if isinstance(value, bool) else "True or False"


def text(value: object) -> str | None:
    """Any text."""
    return None if isinstance(value, str) else "text"


def named(value: object) -> str | None:
    """Text of at least one character."""
    return None if isinstance(value, str) and value else "text, and not empty"


def one_of(*known: str) -> Check:
    """One of these."""

    def check(value: object) -> str | None:
        return None if value in known else " or ".join(map(repr, known))

    return check


def a(kind: type) -> Check:
    """An instance of `kind`, which a converter makes of a table."""

    def check(value: object) -> str | None:
        return None if isinstance(value, kind) else f"a {kind.__name__}, or a table of its settings"

    return check


def anything(value: object) -> None:
    """No check: a converter has made the value what it must be."""
    return


def path(value: Any) -> Any:
    """Text from anything that is a path, see `paths.local_path`; "" and what is no path as they are."""
    value = _as_text(value)
    return local_path(value) if isinstance(value, str) and value else value


def plain(data: Any, what: str) -> Any:
    """`data` as JSON would give it back: tables with text keys, lists, text, finite numbers, flags and None; and
    functions and schedules as they are.

    A copy, so that nobody changes it later; values of numpy, torch and pathlib become plain ones. Raises `ConfigError`
    for anything else.
    """
    data = scalar(data)
    if isinstance(data, Schedule) or (callable(data) and not isinstance(data, type)):
        return data
    if isinstance(data, Mapping):
        if odd := [key for key in data if not isinstance(key, str)]:
            raise ConfigError(f"{what}: key {odd[0]!r} must be text")
        return {key: plain(value, f"{what}.{key}") for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value, f"{what}[{i}]") for i, value in enumerate(data)]
    if data is None or isinstance(data, str | bool | int) or (isinstance(data, float) and math.isfinite(data)):
        return data
    raise ConfigError(
        f"{what} = {shown(data)}: must be plain data (text, finite numbers, true, false, lists, tables) or a function "
        "— other code becomes a component by way of a plugin, see docs/plugins.md"
    )


def table(what: str) -> Callable[[object], dict[str, Any]]:
    """A converter to a plain table; see `plain`."""

    def convert(data: object) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise ConfigError(f"{what} = {shown(data)}: must be a table of settings")
        copy: dict[str, Any] = plain(data, what)
        return copy

    return convert
