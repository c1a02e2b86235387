"""Python functions as schedules and settings: how they are loaded, checked, called and recorded.

A function that can be imported is recorded by its name; another one by its name and a digest of its code, which says
whether it changed but cannot be loaded.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo


def function_data(function: Callable[..., Any]) -> dict[str, str]:
    """How a function is recorded: by name where that leads back to it, else with a digest of its code beside."""
    module, path = getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__qualname__)
    name = f"{module}:{path}"
    try:
        if load(name) is function:
            return {"name": name}
    except ConfigError:
        pass
    return {"name": name, "digest": hashlib.sha256(_content(function).encode()).hexdigest()[:16]}


def _content(value: Any, outer: tuple[Any, ...] = ()) -> str:
    """What makes a function do what it does, as text that is the same in another process: its code, its defaults, and
    the values that it closes over. `outer` are the functions that this one is part of."""

    def of(*parts: Any) -> str:
        return f"({','.join(_content(part, (*outer, value)) for part in parts)})"

    if isinstance(value, types.CodeType):
        return of(value.co_code, value.co_names, value.co_consts)
    if isinstance(value, types.FunctionType):
        if any(value is function for function in outer):  # it calls itself, or one that calls it
            return "again"
        keywords = sorted((value.__kwdefaults__ or {}).items())
        return of(value.__code__, value.__defaults__, keywords, [_cell(cell) for cell in value.__closure__ or ()])
    if isinstance(value, types.MethodType):
        return of(value.__func__, value.__self__)
    if isinstance(value, functools.partial):
        return of("partial", value.func, value.args, sorted(value.keywords.items()))
    if isinstance(value, tuple | list):
        return of(*value)
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(_content(item) for item in value))}}}"
    return repr(value)


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def as_function(value: object) -> Callable[..., Any]:
    """A function from itself, from ``package.module:function``, or from what `function_data` recorded of one.

    Raises `ConfigError` when there is none.
    """
    if callable(value):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        if "digest" in value:
            raise ConfigError(f"the function {value['name']!r} was part of a program and cannot be loaded by name")
        value = value["name"]
    if not isinstance(value, str):
        raise ConfigError(f"expected package.module:function, or a function, got {shown(value)}")
    return load(value)


def call(function: Callable[..., Any], at: StepInfo) -> Any:
    """A user's function of a step: of `StepInfo`, or, with two required arguments, of (step, steps)."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-ins do not say
        return function(at)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return function(at.index, at.steps) if len(required) == 2 else function(at)


def load(name: str) -> Callable[..., Any]:
    """What ``package.module:function`` names. Raises `ConfigError` naming what is missing."""
    module, colon, path = name.partition(":")
    if not colon or not module or not path:
        raise ConfigError(f"{name!r}: write a function as package.module:function")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # an import runs whatever the module holds
        raise ConfigError(f"{name!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ConfigError(f"{name!r} is no function")
    function: Callable[..., Any] = found
    return function


def require_parameters(function: Callable[..., Any], wanted: tuple[str, ...], found: str) -> None:
    """Raise `ConfigError` for a function that cannot be called with `wanted`, positional arguments by these names.

    found: where what other programs hand over is found, for the message.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-ins do not say
        return
    try:
        signature.bind(*wanted)
    except TypeError:
        name = getattr(function, "__name__", type(function).__name__)
        parameters = ", ".join(signature.parameters)
        raise ConfigError(
            f"function {name!r} takes ({parameters:.200}) — write it as def {name}({', '.join(wanted)}): {found}"
        ) from None


@attrs.frozen
class Function(Schedule):
    """A Python function of `StepInfo` or of (step, steps), which a file names as ``package.module:function``."""

    kind: ClassVar[str] = "function"
    function: Callable[[StepInfo], float] = attrs.field(
        converter=as_function, metadata={"help": "package.module:function", "key": "name"}
    )

    def __call__(self, at: StepInfo) -> float:
        """Raises `ConfigError` when the function returns no finite number."""
        returned = call(self.function, at)
        try:
            value = float(returned)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            name = function_data(self.function)["name"]
            raise ConfigError(
                f"the schedule {name!r} returned {shown(returned)} at step {at.index}, not a finite number"
            )
        return value

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Schedule:
        """What `to_data` recorded, as far as it can be loaded by its name."""
        recorded = {key: item for key, item in settings.items() if key in ("name", "digest")}
        others = {key: item for key, item in settings.items() if key not in recorded}
        return super().from_settings({"name": recorded, **others})

    def to_data(self) -> Any:
        """The function's name, and for one that cannot be imported a digest of its code."""
        return {"kind": self.kind, **function_data(self.function)}
