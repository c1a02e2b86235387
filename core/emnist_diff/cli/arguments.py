"""Arguments as they are meant: a shell leaves the ``~`` of ``--config=~/run.toml`` and of a quoted path as it is, and a
locale of few characters leaves text undecoded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emnist_diff.names import typed
from emnist_diff.paths import local_path


def as_meant(command: Any) -> Any:
    """A command, or a group of them, whose arguments and options that are paths have homes written out, see
    `paths.local_path`, and whose others are decoded, see `names.typed`."""
    for inner in getattr(command, "commands", {}).values():
        as_meant(inner)
    callback = command.callback
    if callback is None or hasattr(callback, "as_meant"):
        return command
    paths = {name for name, parameter in inspect.signature(callback).parameters.items() if _is_path(parameter)}

    @functools.wraps(callback)
    def called(*arguments: Any, **options: Any) -> Any:
        meant = {name: _each(local_path if name in paths else typed, value) for name, value in options.items()}
        return callback(*arguments, **meant)

    called.as_meant = True  # type: ignore[attr-defined]  # a command is made once and looked up often
    command.callback = called
    return command


def _is_path(parameter: inspect.Parameter) -> bool:
    return "Path" in str(parameter.annotation)


def _each(meaning: Callable[[Any], str], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_each(meaning, item) for item in value)
    return type(value)(meaning(value)) if isinstance(value, str | Path) else value
