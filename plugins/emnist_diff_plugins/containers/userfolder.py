"""The folder of the user in which this package keeps what can be made again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from emnist_diff.paths import local_path

VARIABLE = "EMNIST_DIFF_CACHE"
"""The environment variable that names another folder, or none when it is empty."""


def user_cache(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path | None:
    """The folder of this package's caches, which need not exist: ``$EMNIST_DIFF_CACHE``, else ``emnist-diff`` in the
    platform's folder for caches (``$XDG_CACHE_HOME``, ``~/.cache``, ``~/Library/Caches``, ``%LOCALAPPDATA%``).
    None where the variable is empty or the user has no home."""
    configured = environment.get(VARIABLE)
    if configured is not None:
        return Path(local_path(configured)) if configured else None
    try:
        home = Path.home()
    except RuntimeError:  # a process without a home, as in some containers
        return None
    if platform == "win32":
        base = Path(environment.get("LOCALAPPDATA", ""))
        return (base if base.is_absolute() else home / "AppData" / "Local") / "emnist-diff" / "cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "emnist-diff"
    base = Path(environment.get("XDG_CACHE_HOME", ""))  # a relative one is invalid, says the specification
    return (base if base.is_absolute() else home / ".cache") / "emnist-diff"
