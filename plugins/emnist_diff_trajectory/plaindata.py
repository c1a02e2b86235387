"""Plain data out of text that anybody may have written: JSON and TOML, read strictly and within bounds.

What the decoders let through and nothing here could use is refused where it is read: numbers that are not finite or
have no end, keys said twice, nesting without end, text that is no Unicode or holds a null character, dates.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emnist_diff.paths import local_path
from emnist_diff.shown import shortened, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_TEXT = 4 << 20
"""Bytes of a configuration. Python's reader of TOML takes seconds for a megabyte."""

DEEPEST = 64
"""Tables and lists within each other."""

_LONGEST_NUMBER = 400
"""Characters of a number, more than any float needs."""

_FOREIGN = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""The marks that texts in other encodings begin with."""

_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"(?<![\w.-]){_PART}(?:{_PART}){{{DEEPEST}}}")
"""A dotted key of TOML for which its reader would take time that grows with the square of the key's length."""


def from_json(text: str, *, names: bool = False) -> Any:
    """The data in JSON.  names: it may hold names of files that are no Unicode, in the form that Python gives them.

    Raises `ValueError` with the reason, in a few words.
    """
    try:
        data = json.loads(
            text, parse_constant=_constant, parse_int=_whole, parse_float=_float, object_pairs_hook=_table
        )
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from error
    _check(data, "surrogateescape" if names else "strict")
    return data


def from_toml(text: str) -> dict[str, Any]:
    """The table in TOML. Raises `ValueError` with the reason, in a few words."""
    if _LONG_KEY.search(text):
        raise ValueError(f"it has a key of more than {DEEPEST} parts")
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from error
    except ValueError as error:
        raise ValueError(shortened(str(error), 300)) from error
    _check(data)
    return data


def read_text(path: Path) -> str:
    """The text of a file of settings, UTF-8, with at most `LARGEST_TEXT` bytes; a byte order mark is no part of it.

    Raises `ValueError` with the reason in a few words, whatever stands in the way: a name that no file can have, a
    folder, a pipe that nobody writes to.
    """
    path = Path(local_path(path))
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise ValueError("it is no ordinary file")
        with path.open("rb") as file:
            data = file.read(LARGEST_TEXT + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if len(data) > LARGEST_TEXT:
        raise ValueError(f"it has more than {LARGEST_TEXT >> 20} MiB")
    encoding = next((name for mark, name in _FOREIGN if data.startswith(mark)), "UTF-16" if b"\0" in data[:4] else "")
    if encoding:
        raise ValueError(f"it is {encoding}, not UTF-8 text — save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"it is not UTF-8 text (line {line}) — save it as UTF-8") from error


def _constant(name: str) -> None:
    """Python reads NaN and Infinity, which are no JSON and could not be written again."""
    raise ValueError(f"{name} is no JSON")


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"it has a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{shortened(digits, 40)} is more than a number can be")
    return value


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key {shown(twice)} is there twice")
    return table


def _check(data: Any, errors: str = "strict") -> None:
    """Raises `ValueError` for what no setting can be; needs no recursion itself."""
    level: list[Any] = [data]
    for _ in range(DEEPEST + 1):
        level = list(_within(level, errors))
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _within(values: list[Any], errors: str) -> Iterator[Any]:
    """The tables and lists in these values, and what they hold; keys and values are checked on the way."""
    for value in values:
        if isinstance(value, dict):
            for key in value:
                _check_text(key, errors)
            yield from value.values()
        elif isinstance(value, list):
            yield from value
        elif isinstance(value, str):
            _check_text(value, errors)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"{value} is no number that a setting can have")
        elif isinstance(value, int):
            if value.bit_length() > 4 * _LONGEST_NUMBER:
                raise ValueError(f"it has a number of {value.bit_length()} bits")
        elif value is not None:
            raise ValueError(f"{value} is a date or a time, which no setting can be")


def _check_text(text: str, errors: str) -> None:
    if "\0" in text:
        raise ValueError(f"text {shown(text)} holds a null character")
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        raise ValueError(f"text {shown(text)} is no Unicode") from error
