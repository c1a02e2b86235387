"""The JSON of a dataset, read strictly, and held against the schema that is shipped."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from emnist_diff.shown import shown
from emnist_diff_trajectory.plaindata import from_json

LARGEST = 64 << 20
"""Bytes of a file of JSON."""

SCHEMA = Path(__file__).with_name("dataset.schema.json")
"""The JSON schema of a dataset's files, each under ``$defs``."""


def read_json(path: Path) -> Any:
    """The data in a file. Raises `ValueError` with the reason in a few words, whatever stands in the way."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ValueError("is no ordinary file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    if len(data) > LARGEST:
        raise ValueError(f"has more than {LARGEST >> 20} MiB")
    try:
        return from_json(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"is no UTF-8 text from byte {error.start} on") from error
    except ValueError as error:
        raise ValueError(f"is no valid JSON: {error}") from error


@cache
def schema() -> Mapping[str, Any]:
    """The whole schema."""
    found: Mapping[str, Any] = from_json(SCHEMA.read_text(encoding="utf-8"))
    return found


def violations(data: Any, name: str) -> Iterator[tuple[str, str]]:
    """Where data is not as the schema of ``$defs/NAME`` has it, and what is wrong there."""
    yield from _violations(data, schema()["$defs"][name], "")


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is_a(data: Any, kind: str) -> bool:
    return isinstance(data, _TYPES[kind]) and (kind == "boolean" or not isinstance(data, bool))


def _violations(data: Any, rule: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """The part of JSON schema 2020-12 that the shipped one uses."""
    if "$ref" in rule:
        yield from _violations(data, schema()["$defs"][rule["$ref"].rpartition("/")[2]], where)
        return
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is_a(data, kind) for kind in kinds):
        yield where, f"is {shown(data)}, not {' or '.join(kinds)}"
        return
    if "const" in rule and data != rule["const"]:
        yield where, f"is {shown(data)}, not {rule['const']!r}"
    if "enum" in rule and data not in rule["enum"]:
        yield where, f"is {shown(data)}, not one of {', '.join(map(repr, rule['enum']))}"
    if isinstance(data, int | float) and not isinstance(data, bool):
        if not rule.get("minimum", -math.inf) <= data <= rule.get("maximum", math.inf):
            yield where, f"is {shown(data)}, not {_range(rule)}"
    elif isinstance(data, str) and not re.search(rule.get("pattern", ""), data):
        yield where, f"is {shown(data)}, which is no path like {rule.get('description', rule['pattern'])}"
    elif isinstance(data, list):
        least, most = rule.get("minItems", 0), rule.get("maxItems", math.inf)
        if not least <= len(data) <= most:
            yield where, f"has {len(data)} entries, not {least} … {most}"
        for place, item in enumerate(data):
            yield from _violations(item, rule.get("items", {}), f"{where}[{place}]")
    elif isinstance(data, dict):
        yield from _in_table(data, rule, where)


def _in_table(data: dict[str, Any], rule: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    for key in rule.get("required", ()):
        if key not in data:
            yield where, f"has no {key}"
    named, rest = rule.get("properties", {}), rule.get("additionalProperties", {})
    for key, value in data.items():
        yield from _violations(value, named.get(key, rest), f"{where}.{key[:60]}" if where else key[:60])


def _range(rule: Mapping[str, Any]) -> str:
    low, high = rule.get("minimum"), rule.get("maximum")
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} … {high}"
