"""The component under test: a class with settings to make it of, or an object as an example of them."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import attrs

from emnist_diff.errors import ConfigError, EmnistDiffError
from emnist_diff.structuring import aliases, structure
from emnist_diff_plugins import parse

_EXAMPLE = re.compile(r"^Examples?:(?P<rest>.*(?:\n(?!\s*\n).*)*)", re.MULTILINE)
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_BESIDE = ("name", "weight", "clip_abs", "clip_norm")


@attrs.frozen(eq=False)
class Subject:
    """What is checked.

    name: how messages call it.  factory: its class.  settings: plain data to make it of, or None where `example` is
    there to be copied.
    """

    kind: str
    name: str
    factory: Any
    settings: Mapping[str, Any] | None
    example: Any = None

    def make(self) -> Any:
        """A fresh component."""
        if self.settings is not None:
            return structure(dict(self.settings), self.factory, self.name)
        return attrs.evolve(self.example) if attrs.has(self.factory) else self.example


def subject(kind: str, component: Any, name: str = "") -> Subject:
    """What `component` stands for: an object for itself; a class for what the first example in its docstring makes of
    it, or else its defaults.

    Raises `ConfigError` for a class of which neither makes anything.
    """
    if not isinstance(component, type):
        return Subject(kind, name or f"{kind} {type(component).__name__}", type(component), None, component)
    name = name or f"{kind} {component.__name__}"
    if not attrs.has(component):
        return Subject(kind, name, component, None, component())
    refused = None
    for settings in (*examples(component, kind), {}):
        found = Subject(kind, name, component, settings)
        try:
            found.make()
        except EmnistDiffError as error:
            refused = refused or error
        else:
            return found
    raise ConfigError(
        f"{refused} — give the kit an object, or the docstring an example that works: "
        f'Example: ``--{kind} "NAME:KEY=VALUE"``'
    )


def examples(factory: type, kind: str) -> Iterator[dict[str, Any]]:
    """The settings of each example in a docstring: ``Example: ``--force "pull:target=B"````. Of several components in
    one example it is the one that has such settings, or else the last."""
    known = aliases(factory) if attrs.has(factory) else {}
    for found in _EXAMPLE.finditer(inspect.getdoc(factory) or ""):
        for code in _CODE.findall(found["rest"]):
            examples_found = list(_settings(code, kind))
            fitting = [settings for settings in examples_found if settings.keys() <= known.keys()]
            if examples_found:
                yield (fitting or examples_found)[-1]


def _settings(code: str, kind: str) -> Iterator[dict[str, Any]]:
    """What a command line says of each component of a kind."""
    try:
        words = shlex.split(code)
    except ValueError:  # no command line
        return
    arguments = {}
    for option, value in pairwise(words):
        if option == f"--{kind}-args":
            arguments = _read(parse.json_or_file, value, option)
    for option, value in pairwise(words):
        if option == f"--{kind}":
            whole = {**_read(parse.component, value, option), **arguments}
            yield {key: value for key, value in whole.items() if key not in _BESIDE}


def _read(parser: Callable[[str, str], Any], text: str, option: str) -> dict[str, Any]:
    """A table that stands in an example; an empty one where it is none."""
    try:
        read = parser(text, option)
    except ConfigError:
        return {}
    return dict(read) if isinstance(read, Mapping) else {}
