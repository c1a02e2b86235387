"""Which files that decide samples differ between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differing(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Which files of two records have another content, as part of a message; "" where all are the same."""
    old, new = (_table(record.get("files")) for record in (recorded, current))
    parts = []
    for place in sorted(old.keys() | new.keys()):
        one, other = _table(old.get(place)), _table(new.get(place))
        if one.get("sha256") != other.get("sha256"):
            name = str(other.get("name", one.get("name")))
            parts.append(f"{place:.80}, {name!r:.80}, has SHA-256 {_short(one)} there and {_short(other)} here")
    return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} more" if len(parts) > 4 else "")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(entry: Mapping[str, Any]) -> str:
    return f"{entry['sha256']!s:.12}…" if "sha256" in entry else "none"
