"""Configurations in files of TOML and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.paths import StrPath
from emnist_diff_trajectory.plaindata import from_json, from_toml, read_text

_SUFFIXES = (".json", ".toml")


@attrs.frozen
class PlainForm:
    """A `contract.Form`: the plain table of a run's settings. Whatever no other form is must be one."""

    def layer(self, path: Path, registry: Any, checkpoint: str | None) -> Mapping[str, Any]:
        """The table. Raises as `read_file`."""
        return read_file(path)


def table(path: Path) -> dict[str, Any] | None:
    """The table in a file of TOML or JSON, as `read_file` reads it; None for a file of another kind."""
    return read_file(path) if path.suffix in _SUFFIXES else None


def read_file(path: StrPath) -> dict[str, Any]:
    """The table in a ``.toml`` or ``.json`` configuration file.

    Raises `ConfigError` naming the file for anything else, and line and column for a syntax error.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES and path.is_file():
        raise ConfigError(
            f"configuration {str(path)!r} must end in .toml or .json, or be a trajectory file that can be read"
        )
    try:
        text = read_text(path)
    except ValueError as error:
        raise ConfigError(f"cannot read configuration {str(path)!r}: {error}") from error
    try:
        data = from_json(text) if path.suffix == ".json" else from_toml(text)
    except ValueError as error:
        raise ConfigError(f"configuration {str(path)!r} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"configuration {str(path)!r} must hold a table of settings, got {type(data).__name__}")
    return data
