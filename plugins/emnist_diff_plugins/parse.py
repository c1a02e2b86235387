"""Components, settings and JSON as people type them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff_trajectory.plaindata import from_json, read_text


def component(text: str, option: str) -> dict[str, Any]:
    """``name`` or ``name:key=value,key=value`` as a table. Values are JSON where they can be, else text.

    Raises `ConfigError` naming the option and the part that cannot be read.
    """
    head, equals, _ = text.partition("=")
    name, colon, _ = head.rpartition(":")
    if not equals:
        return {"name": text}
    if not colon:
        raise ConfigError(f"{option} {shown(text)}: write it as name:key=value,key=value")
    out: dict[str, Any] = {"name": name}
    for key, value in settings(text[len(name) + 1 :], f"{option} {shown(text)}").items():
        if key == "name":
            raise ConfigError(f"{option} {shown(text)}: 'name' is given twice")
        out[key] = value
    return out


def settings(text: str, option: str) -> dict[str, Any]:
    """``key=value,key=value`` as a table. Values are JSON where they can be, else text. Raises as `component`."""
    out: dict[str, Any] = {}
    for part in _split(text):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"{option}: {shown(part)} is not key=value")
        if key in out:
            raise ConfigError(f"{option}: {key!r} is given twice")
        out[key] = _value(value.strip())
    return out


def named_files(texts: Iterable[str], option: str) -> dict[str, str]:
    """``NAME=FILE`` as a table. Raises `ConfigError` naming the option and the text that is none, or said twice."""
    out: dict[str, str] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"{option} {shown(text)}: write it as NAME=FILE")
        if name in out:
            raise ConfigError(f"{option}: {name!r} is given twice")
        out[name] = file
    return out


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def bytes_of(text: str, option: str) -> int:
    """``200MB`` in bytes; KB, MB and GB are powers of ten, KiB, MiB and GiB of two. Raises `ConfigError`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ConfigError(f"{option} {shown(text)}: write it as 200MB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def json_or_file(text: str, option: str) -> Any:
    """The JSON in `text`, or in the file that ``@path`` names."""
    source = text
    if text.startswith("@"):
        try:
            source = read_text(Path(text[1:]))
        except ValueError as error:
            raise ConfigError(f"{option}: cannot read {text[1:]!r}: {error}") from error
    try:
        return from_json(source)
    except ValueError as error:
        raise ConfigError(f"{option}: not valid JSON: {error}") from error


def _split(text: str) -> list[str]:
    """Split at commas that stand outside brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for i, char in enumerate(text):
        if char == '"' and text[i - 1 : i] != "\\":
            quoted = not quoted
        elif not quoted and char in "[{(":
            depth += 1
        elif not quoted and char in "]})":
            depth -= 1
        elif char == "," and not quoted and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def _value(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return text
