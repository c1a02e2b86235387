"""Paths on the command line: a shell leaves the ``~`` of ``--config=~/run.toml`` and of a quoted path as it is."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Any

from emnist_diff.paths import local_path


def with_homes(command: Any) -> Any:
    """A command, or a group of them, whose arguments and options that are paths have homes written out; see
    `paths.local_path`."""
    for inner in getattr(command, "commands", {}).values():
        with_homes(inner)
    callback = command.callback
    if callback is None or hasattr(callback, "with_homes"):
        return command
    paths = {name for name, parameter in inspect.signature(callback).parameters.items() if _is_path(parameter)}

    @functools.wraps(callback)
    def called(*arguments: Any, **options: Any) -> Any:
        return callback(*arguments, **{name: _local(v) if name in paths else v for name, v in options.items()})

    called.with_homes = True  # type: ignore[attr-defined]  # a command is made once and looked up often
    command.callback = called
    return command


def _is_path(parameter: inspect.Parameter) -> bool:
    return "Path" in str(parameter.annotation)


def _local(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_local, value))
    return type(value)(local_path(value)) if isinstance(value, str | Path) else value
