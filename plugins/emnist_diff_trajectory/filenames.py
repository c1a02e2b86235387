"""Names of files and folders after classes: readable, and different for different classes on every disk.

A disk may ignore case, normalise accents, reserve words, or bound the length of a name. Most names stand for
themselves: ``A``, ``7``, ``cat``. A letter in lower case says so, ``k-lower``. Every other name becomes what is
readable of it and a hash of the whole: ``Ankle-boot-20991759``.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_PLAIN = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_-]{0,38}[0-9A-Za-z_])?")
_TRANSLATED = re.compile(r".*-([0-9a-f]{8}|lower)", re.IGNORECASE)
"""What the names that are made here end in, and none that stands for itself."""
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
_LONGEST_SLUG = 32
_LONGEST_LIST = 60


def of_class(name: str) -> str:
    """A file name for a class: ASCII letters, digits, ``-`` and ``_``, at most 41 of them.

    Of names that differ by case alone one stands for itself: a letter in upper case, a longer name in lower case.
    """
    if re.fullmatch("[a-z]", name):
        return f"{name}-lower"
    one_of_its_cases = name == (name.upper() if len(name) == 1 else name.lower())
    if one_of_its_cases and _PLAIN.fullmatch(name) and not (_TRANSLATED.fullmatch(name) or _RESERVED.fullmatch(name)):
        return name
    ascii_letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^0-9A-Za-z_]+", "-", ascii_letters)[:_LONGEST_SLUG].strip("-") or "class"
    return f"{slug}-{_hash(name)}"


def of_classes(names: Sequence[str]) -> str:
    """A folder name for the classes of a run, in their order: ``A+B+7``, or how many they are and a hash of them:
    ``62-classes-b860fb9a``."""
    joined = "+".join(of_class(name) for name in names)
    if len(names) == 1 or len(joined) <= _LONGEST_LIST:
        return joined
    return f"{len(names)}-classes-{_hash(*names)}"


def _hash(*names: str) -> str:
    digest = hashlib.sha256()
    for number, name in enumerate(names):
        digest.update((b"\0" if number else b"") + name.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:8]
