"""Paths as users give them, on the command line, in files and from Python alike.

A relative path is relative to the working directory, wherever it is written. ``~`` and ``~name`` at its start are
homes.
"""

from __future__ import annotations

import os
import sys

from emnist_diff.errors import ConfigError

StrPath = str | os.PathLike[str]


def local_path(path: StrPath) -> str:
    """The path as this system opens it: a home at its start is written out, and so that its encoding can say it.

    Raises `ConfigError` for a home that nobody has, and for a path that no system takes.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise ConfigError(f"the path {text!r} holds a null character, which no file name can")
    if text.startswith("~"):
        named, text = text, os.path.expanduser(text)
        if text.startswith("~"):
            raise ConfigError(
                f"the path {named!r} begins with a home that nobody has here — write ./{named} for a file"
            )
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # a locale of few characters, as LC_ALL=C sets; names on disks are bytes, mostly UTF-8
        text = text.encode("utf-8", "surrogateescape").decode(sys.getfilesystemencoding(), "surrogateescape")
    return text
