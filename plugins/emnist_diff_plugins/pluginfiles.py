"""Plugins in files of the user's, which no distribution installs: ``--plugin-file my_forces.py``."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import attrs

from emnist_diff.discovery import NARROW, discover, installed
from emnist_diff.errors import PluginError
from emnist_diff.plugins import Registry, Source
from emnist_diff.probing import reason


def with_files(files: Iterable[Path]) -> Registry:
    """The installed plugins, and those in Python files that hold implementations of hooks. The distribution of such a
    plugin is the name of its file.

    Raises `PluginError` for a file that is not there or cannot be imported: it was asked for.
    """
    opened = [_File(path) for path in files]
    if not opened:
        return installed()
    more = [(Source(file.path.stem, file.path.name, "", file.path.stem), file.load) for file in opened]
    registry = discover(narrow=os.environ.get(NARROW), more=more)
    for file in opened:
        if file.error is not None:
            raise file.error
        if not file.loaded:  # it ends the process, so that it was not tried
            why = next(broken.error for broken in registry.broken if broken.distribution == file.path.name)
            raise PluginError(f"plugin file {str(file.path)!r} cannot be loaded: {why}")
    return registry


@attrs.define(eq=False)
class _File:
    """A file, and what came of importing it."""

    path: Path
    loaded: bool = False
    error: PluginError | None = None

    def load(self) -> object:
        """The module in the file. Raises `PluginError`."""
        try:
            module = _module(self.path)
        except PluginError as error:
            self.error = error
            raise
        self.loaded = True
        return module


def _module(path: Path) -> object:
    """The module in a file, importable by the file's own name from now on, as its records need."""
    if not os.path.isfile(path):
        raise PluginError(f"plugin file {str(path)!r} does not exist")
    known = sys.modules.get(path.stem)
    if known is not None and os.path.realpath(getattr(known, "__file__", None) or "") != os.path.realpath(path):
        raise PluginError(f"plugin file {str(path)!r} has the name of the module {path.stem!r} — rename it")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.stem.isidentifier():
        raise PluginError(f"plugin file {str(path)!r} is no Python module — name it like one, as in my_forces.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(path.stem, None)
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(f"plugin file {str(path)!r} cannot be loaded: {reason(error)}") from error
    return module
