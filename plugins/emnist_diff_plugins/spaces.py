"""The condition spaces of most denoisers: the classes that they were trained on, or any text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import attrs

from emnist_diff.errors import ConfigError, unknown
from emnist_diff.spaces import Inputs, with_inputs
from emnist_diff_trajectory.names import known

_DEFAULT = "A"
"""The class that is generated where nothing is requested."""


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)  # `tuple` itself, as a converter, would take nothing in the eyes of a type checker


def listed(requested: str) -> list[str]:
    """The names in ``A,B, k`` or in a JSON list of texts; names of a JSON list keep their spaces and commas."""
    if requested.startswith("["):
        try:
            names = json.loads(requested)
        except (ValueError, RecursionError):
            names = None
        if isinstance(names, list) and names and all(map(_is_text, names)):
            return names
    return [name.strip() for name in requested.split(",")]


def _is_text(value: object) -> bool:
    """Whether it is text that a file can hold: without null characters and halves of characters, which JSON can say."""
    return isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value)


@attrs.frozen
class ClassSpace:
    """A closed `ConditionSpace`: the classes that a denoiser was trained on.

    classes: names in index order, 0 … C-1.
    null_index: the row index that means "no class", or None where the denoiser was trained without.
    merged: names that a class-merged dataset folds into another class, e.g. ``{"c": "C"}``.
    """

    classes: tuple[str, ...] = attrs.field(converter=_names)
    null_index: int | None = None
    merged: Mapping[str, str] = attrs.field(factory=dict)
    open: ClassVar[bool] = False

    def resolve(self, name: str) -> str:
        """The class that `name` stands for, itself or the one it was merged into.

        Raises `UnknownName` with the nearest classes, `ConfigError` where several read the same, see `names.known`.
        """
        found = self._known(name)
        if found is not None:
            return self.merged.get(found, found)
        raise unknown("class", name, self.classes, "see emnist-diff checkpoint inspect")

    def spelled(self, data: Any) -> Any:
        """Plain data in which texts that read as a class, whose accents are typed in another way, are written as that
        class is, so that they are recorded as one."""
        if isinstance(data, str):
            return data if data.isascii() else self._known(data) or data
        if isinstance(data, Mapping):
            return {self.spelled(key): self.spelled(value) for key, value in data.items()}
        return [self.spelled(value) for value in data] if isinstance(data, list | tuple) else data

    def _known(self, name: str) -> str | None:
        """The class or merged class that a typed name means."""
        if name in self.classes or name in self.merged:  # which decides for all but accents typed in another way
            return name
        return known(name, [*self.classes, *self.merged])

    def characters(self, requested: str | Sequence[str] | None) -> tuple[str, ...]:
        """The classes that a list of names, or the text ``A``, ``A,B,k`` or ``all`` means, in that order, none of
        them twice. A text that is the name of a class means that one, commas or not; a list in JSON,
        ``["a,b", "c"]``, means what it holds. None means ``A``, or the first class where there is none of that name.

        Raises as `resolve`.
        """
        if requested is None:
            requested = _DEFAULT if _DEFAULT in self.classes else self.classes[0]
        if not isinstance(requested, str):
            return tuple(dict.fromkeys(self.resolve(name) for name in requested))
        if self._known(requested) is not None:
            return (self.resolve(requested),)
        if requested == "all":
            return self.classes
        return tuple(dict.fromkeys(self.resolve(name) for name in listed(requested)))

    def index(self, name: str, inputs: Inputs = ()) -> int:
        """The row index of a class, by name. Raises as `resolve`, `ConfigError` for inputs: a class has none."""
        if inputs:
            raise ConfigError(f"this denoiser takes a class and no numbers beside it, but not {dict(inputs)}")
        return self.classes.index(self.resolve(name))


@attrs.define(eq=False)
class TextSpace:
    """An open `ConditionSpace`: any text is a name, and gets its row index when it is asked for first.

    A source and the denoiser that it loads share one. The denoiser looks up `entry` of each index, once, and keeps what
    its network needs of it, such as an embedding: when it is loaded a run has been laid out, and has asked for
    all names that it will.

    null: whether "no condition" is a row; its index is -1.
    """

    null: bool = True
    merged: ClassVar[Mapping[str, str]] = MappingProxyType({})
    open: ClassVar[bool] = True
    _indices: dict[tuple[str, Inputs], int] = attrs.field(factory=dict, init=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names asked for so far, with their inputs, in index order."""
        return tuple(with_inputs(name, inputs) for name, inputs in self._indices)

    @property
    def null_index(self) -> int | None:
        """-1, or None where there is no such row."""
        return -1 if self.null else None

    def resolve(self, name: str) -> str:
        """The text itself."""
        return name

    def index(self, name: str, inputs: Inputs = ()) -> int:
        """The row index of a text with these inputs, the same whenever it is asked for. The empty text is the null
        condition, with inputs that go along with it."""
        if not name and not inputs and self.null:
            return -1
        return self._indices.setdefault((name, inputs), len(self._indices))

    def clear(self) -> None:
        """Forget all names, so that the next run counts from 0."""
        self._indices.clear()

    def entry(self, index: int) -> tuple[str, Inputs]:
        """Text and inputs of a row index; the text of the null condition is empty."""
        return ("", ()) if index == -1 else list(self._indices)[index]

    def spelled(self, data: Any) -> Any:
        """The data as they are."""
        return data

    def characters(self, requested: str | Sequence[str] | None) -> tuple[str, ...]:
        """The texts: one, commas or not, or a list, which may be written in JSON. Raises `ConfigError` without any."""
        if requested is None:
            raise ConfigError("this model makes what a text says — use --character TEXT")
        if isinstance(requested, str):
            requested = listed(requested) if requested.startswith("[") else [requested]
        return tuple(dict.fromkeys(requested))
