"""What a user has said of this machine, once, for every run on it: ``~/.config/emnist-diff/config.toml``.

The table ``[run]`` holds settings of the machine and of nothing else, so that no file outside a run's own record
decides what its samples are of::

    [run]
    backend = "openvino"
    threads = 4

    [checkpoints]
    folders = ["~/models"]

``emnist-diff run`` reads it under everything else that is said; ``emnist-diff bench --write`` writes it. The Python API
never looks at it. In the folders of ``[checkpoints]`` the model of a recorded file is looked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import tomlkit
import tomlkit.exceptions

from emnist_diff.config import RunConfig
from emnist_diff.errors import ConfigError, unknown
from emnist_diff.paths import local_path
from emnist_diff.shown import shown
from emnist_diff.structuring import structure
from emnist_diff_plugins import runconfig
from emnist_diff_plugins.machine.threads import share
from emnist_diff_trajectory.files import write_bytes
from emnist_diff_trajectory.plaindata import from_toml, read_text

VARIABLE = "EMNIST_DIFF_CONFIG"
"""The environment variable that names another file; empty, it means none."""

_TABLE, _CHECKPOINTS, _FOLDERS = "run", "checkpoints", "folders"


SETTINGS = ("backend", "precision", "threads", "micro_batch", "device")
"""The settings of a `config.RunConfig` that the file may hold."""


def path() -> Path | None:
    """Where the file is, or would be: ``$EMNIST_DIFF_CONFIG``, else ``$XDG_CONFIG_HOME/emnist-diff/config.toml``, with
    ``~/.config`` for a variable that is unset or no absolute path. None where the first is empty, or nobody has a home.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(local_path(named)) if named else None
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".config"
        except RuntimeError:
            return None
    return base / "emnist-diff" / "config.toml"


def read() -> dict[str, Any]:
    """The settings of the table ``[run]``, as a layer for `layers.configure`; {} where there is no file.

    Raises `ConfigError` naming the file for one that cannot be read, is no TOML, or holds anything but these settings
    with values that they can have, and for one that ``$EMNIST_DIFF_CONFIG`` names and that is not there.
    """
    file = _present()
    return {} if file is None else _settings(_text(file), file)


def checkpoint_folders() -> list[str]:
    """The folders of the table ``[checkpoints]``, as they stand there. Raises as `read`."""
    file = _present()
    return [] if file is None else _folders(_tables(_text(file), file), file)


def _present() -> Path | None:
    """The file, where there is one. Raises `ConfigError` for one that is named and that is not there."""
    file = path()
    if file is None or os.path.exists(file):  # pathlib raises for a name that is too long
        return file
    if os.environ.get(VARIABLE):
        raise ConfigError(f"${VARIABLE} names {str(file)!r}, which is not there — unset it, or run bench --write")
    return None


@attrs.frozen
class UserConfig:
    """A `contract.Layer`: what the user's file says of this machine."""

    def settings(self) -> Mapping[str, Any]:
        """The table ``[run]``; of its threads, several workers on one machine have a share each. Raises as `read`."""
        found = read()
        if "threads" in found:
            found["threads"] = share(found["threads"])
        return found


def write(settings: Mapping[str, Any]) -> Path:
    """Set these settings in the file, whose other lines stay as they are; a value of None takes one out. Gives the
    file's path. The file is the old one or the whole new one, whatever happens.

    Raises `ConfigError` where there is no place for it, where the file that is there is not in order, where a setting
    is none of a machine or impossible; `OutputError` when it cannot be written.
    """
    file = path()
    if file is None:
        raise ConfigError(f"there is no place for a user's configuration — name a file in ${VARIABLE}")
    before = _text(file) if os.path.exists(file) else ""
    _settings(before, file)  # in order, or nothing is changed
    try:
        text = _edited(before, settings)
    except tomlkit.exceptions.TOMLKitError as error:
        raise ConfigError(f"{file} cannot be edited here ({error}) — write {shown(settings)} into its [run]") from error
    _settings(text, file)
    write_bytes(file, text.encode())
    return file


def _edited(text: str, settings: Mapping[str, Any]) -> str:
    document = tomlkit.parse(text)
    table: Any = document.setdefault(_TABLE, tomlkit.table())
    for key, value in settings.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return tomlkit.dumps(document)


def _text(file: Path) -> str:
    if file.suffix != ".toml":
        raise ConfigError(f"the user's configuration {str(file)!r} must end in .toml")
    try:
        return read_text(file)
    except ValueError as error:
        raise ConfigError(f"cannot read the user's configuration {str(file)!r}: {error}") from error


def _tables(text: str, file: Path) -> Mapping[str, Any]:
    """The tables of a file with this text, of the names that it may hold."""
    try:
        data = from_toml(text)
    except ValueError as error:
        raise ConfigError(f"the user's configuration {str(file)!r} is not valid TOML: {error}") from error
    if other := sorted(data.keys() - {_TABLE, _CHECKPOINTS}):
        raise ConfigError(
            f"the user's configuration {str(file)!r} holds {other[0]!r} — its tables are [run] and [checkpoints]"
        )
    return data


def _folders(data: Mapping[str, Any], file: Path) -> list[str]:
    """The table ``[checkpoints]``, checked."""
    table = data.get(_CHECKPOINTS, {})
    folders = table.get(_FOLDERS, []) if isinstance(table, Mapping) and not table.keys() - {_FOLDERS} else None
    if not isinstance(folders, list) or not all(isinstance(folder, str) for folder in folders):
        raise ConfigError(f'[checkpoints] of {file} is not as in: folders = ["~/models"]')
    return folders


def _settings(text: str, file: Path) -> dict[str, Any]:
    """The table ``[run]`` of a file with this text, all of which is checked."""
    data = _tables(text, file)
    _folders(data, file)
    table = data.get(_TABLE, {})
    what = f"[run] of {file}"
    checked = dict(table) if isinstance(table, Mapping) else table
    if isinstance(checked, dict):
        if other := sorted(checked.keys() - set(SETTINGS)):
            raise unknown(f"setting of {what}:", other[0], SETTINGS)
        if "backend" in checked:
            checked["backend"] = runconfig.component(checked["backend"], f"{what}: backend")
    structure(checked, RunConfig, what)
    return dict(table)
