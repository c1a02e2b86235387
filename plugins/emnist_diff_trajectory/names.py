"""Names of classes as people type them: an accent may be typed as a letter of its own, or in bytes that a terminal's
locale does not know."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown


def typed(text: str) -> str:
    """The text in an argument that Python could not decode, as under ``LC_ALL=C``, where it is UTF-8; else as it is."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return text


def known(name: str, names: Iterable[str]) -> str | None:
    """Which of `names` is meant by `name`: itself, else the only one that reads the same (is equal in NFC). None for
    none.

    Raises `ConfigError` where several read the same and none is written so.
    """
    names = list(names)
    name = typed(name)
    if name in names:
        return name
    same = [one for one in names if _read(one) == _read(name)]
    if len(same) > 1:
        written = " and ".join(ascii(one) for one in same)
        raise ConfigError(f"class {shown(name)} may be {written}, which read the same — write it as one of them")
    return same[0] if same else None


def _read(name: str) -> str:
    return unicodedata.normalize("NFC", name)
