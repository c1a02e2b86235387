"""What denoisers can be asked for by name: the classes that they know, or any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

Inputs = tuple[tuple[str, float], ...]
"""Numbers by name, in the order of their names."""


def with_inputs(name: str, inputs: Inputs) -> str:
    """A name with its inputs, for people: ``a cat (size=64)``."""
    return name + (f" ({', '.join(f'{key}={value:g}' for key, value in inputs)})" if inputs else "")


@runtime_checkable
class ConditionSpace(Protocol):
    """What a denoiser can be asked for, by name. Each name has an integer, the row index; whatever else a denoiser
    needs of a name it keeps in a table of its own."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that it knows, in index order; of an open one those that a run has asked for so far."""

    @property
    def null_index(self) -> int | None:
        """The row index that means "no condition"; None where the denoiser was trained without."""

    @property
    def merged(self) -> Mapping[str, str]:
        """Names that stand for another one, with that one."""

    @property
    def open(self) -> bool:
        """Whether any text is a name."""

    def resolve(self, name: str) -> str:
        """The name that this one stands for. Raises `UnknownName` for one that it does not know."""

    def index(self, name: str, inputs: Inputs = ()) -> int:
        """The row index of a name with these inputs. Raises as `resolve`, `ConfigError` for inputs that it cannot
        take."""

    def spelled(self, data: Any) -> Any:
        """Plain data with each text that reads as a name written as that name is, so that both are recorded as one."""

    def characters(self, requested: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names that a configuration asks samples of, in its order and none twice; None means the default."""
