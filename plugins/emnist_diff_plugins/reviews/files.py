"""What decides samples and stands in no setting: the content of files and functions that settings name.

A component need do nothing for this where a setting is a `pathlib.Path`, is marked as a file by its metadata
(``{"help": "…", "file": True}``), is a function, or is text that has a suffix and is the name of a file that is there.
One that reads files which no setting names has a method ``files()``, which returns them, name → path.

A run records the SHA-256 of each under ``files``. Runs whose records differ are other runs: they are neither resumed as
one another nor merged, and none is replayed as the other.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from emnist_diff.components import Component, call_component
from emnist_diff.errors import ConfigError, PluginError
from emnist_diff.protocols import offers
from emnist_diff.schedules import Product, Schedule
from emnist_diff_plugins.capabilities import WEIGHTS, NamesFiles
from emnist_diff_plugins.contract import SettingsReview
from emnist_diff_plugins.functions import Function
from emnist_diff_trajectory.files import sha256

_PACKAGES = (
    "emnist_diff",
    "emnist_diff_inference",
    "emnist_diff_plugins",
    "emnist_diff_testing",
    "emnist_diff_trajectory",
)
"""The import packages of this distribution."""

FILE = "file"
"""The key of a field's metadata that marks a setting as the name of a file or a directory, or as a list of them."""


@attrs.frozen
class DecidingFiles(SettingsReview):
    """Records the files that decide what the components of a run do."""

    def files(self, parts: Mapping[str, Component | Schedule]) -> Mapping[str, Any]:
        """`SettingsReview.files`; raises as `recorded_files`."""
        return recorded_files(parts)


def recorded_files(parts: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Name and SHA-256 of each file that decides what these parts do, by where it is named.

    parts: components (`Component`) and schedules, by their place in the configuration, ``forces[0]``.

    Raises `ConfigError` for a file that cannot be read, `PluginError` for a component whose ``files()`` is not right.
    """
    out: dict[str, dict[str, str]] = {}
    for place, part in parts.items():
        found = _of_component(place, part) if isinstance(part, Component) else _of_value(place, part)
        for named, path in found:
            out[named] = {"name": path.name, "sha256": content_sha256(path)}
    return dict(sorted(out.items()))


def content_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex, or of all files in a directory and their names. Each is read once while it does
    not change. Raises `ConfigError` where it cannot be read."""
    try:
        if not path.is_dir():
            return sha256(path)
        digest = hashlib.sha256()
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                inside = Path(folder) / name
                digest.update(f"{inside.relative_to(path).as_posix()}\0{sha256(inside)}\n".encode())
        return digest.hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _of_component(place: str, component: Component) -> Iterator[tuple[str, Path]]:
    """The files of a component: its plugin file, those of its settings, and those of its ``files()``."""
    distribution = component.distribution
    source = sys.modules.get(distribution.removesuffix(".py")) if distribution.endswith(".py") else None
    if source is not None and source.__file__:
        yield f"plugin {distribution}", Path(source.__file__)
    yield from _of_settings(place, component.object)
    if not offers(component.object, NamesFiles):
        return
    kind = place.partition("[")[0]
    label = f"{kind} {component.name!r} of {distribution}"
    named = call_component(label, component.object.files)
    if not isinstance(named, Mapping) or not all(isinstance(p, str | os.PathLike) for p in named.values()):
        raise PluginError(f"{label}: files() returned no table of name → path")
    for name, path in named.items():
        yield f"{place}.{name}", Path(path)


def _of_settings(place: str, holder: Any) -> Iterator[tuple[str, Path]]:
    for field in attrs.fields(type(holder)):
        if field.init and not field.metadata.get(WEIGHTS):
            yield from _of_value(f"{place}.{field.name}", getattr(holder, field.name), bool(field.metadata.get(FILE)))


def _of_value(place: str, value: Any, marked: bool = False) -> Iterator[tuple[str, Path]]:
    """The files that a value names.  marked: whether text is the name of a file, whatever it looks like."""
    if isinstance(value, str):
        if (path := _named(value, marked)) is not None:
            yield place, path
    elif isinstance(value, os.PathLike):
        yield place, Path(value)
    elif isinstance(value, Function):
        yield from _of_value(place, value.function)
    elif isinstance(value, Product):
        yield from _of_value(place, value.factors)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_value(f"{place}.{key}", item, marked)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for number, item in enumerate(value) if not _numbers(value) else ():
            yield from _of_value(f"{place}[{number}]", item, marked)
    elif attrs.has(type(value)):
        if not isinstance(value, Schedule):
            yield from _of_settings(place, value)
    elif callable(value) and (source := _source(value)) is not None:
        yield place, source


def _numbers(values: Sequence[Any]) -> bool:
    """Whether a list is of numbers, of which there may be very many."""
    return bool(values) and isinstance(values[0], int | float)


def _named(text: str, marked: bool) -> Path | None:
    """The file that a text names; None where it names none that is there."""
    path = Path(text)
    try:
        present = path.exists() if marked else bool(path.suffix) and path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return None
    return path if present and text else None


def _source(function: Any) -> Path | None:
    """The file that a function is written in; None where there is none, as of functions that are built in."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        function = type(function)
    if str(getattr(function, "__module__", "")).partition(".")[0] in _PACKAGES:
        return None  # it is of this distribution, whose version is in the environment
    try:
        source = inspect.getsourcefile(function)
    except TypeError:
        return None
    return Path(source) if source and os.path.isfile(source) else None
