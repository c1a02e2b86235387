"""Weights over time, as data: what a scalar setting is at each step of a run.

A schedule is written as a number (constant), as a table with a ``kind``, or as a list of these (their product)::

    strength = 2.0
    strength = {kind = "ramp", start = 0, end = 2}
    strength = [{kind = "window", from = 0.2, to = 0.8}, {kind = "cosine", start = 1, end = 0}]

The kinds are those of `curves`, and ``function``. In Python a schedule may also be a function of `StepInfo`, or of
(step, steps); see `functions`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import attrs
from attrs import validators as v

from emnist_diff.curves import CURVES, Constant, Schedule
from emnist_diff.errors import ConfigError, unknown
from emnist_diff.functions import Function, as_function, function_data
from emnist_diff.scalars import scalar
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo

__all__ = ["Constant", "Function", "Product", "Schedule", "schedule", "to_data"]


@attrs.frozen
class Product(Schedule):
    """The product of schedules; written as a list."""

    kind: ClassVar[str] = "product"
    factors: tuple[Schedule, ...] = attrs.field(validator=v.min_len(1))

    def __call__(self, at: StepInfo) -> float:
        return math.prod(factor(at) for factor in self.factors)


def schedule(value: Any) -> Schedule:
    """A schedule from data (a number, a table, a list), a function, or itself.

    Raises `ConfigError` naming what is wrong, `UnknownName` for an unknown kind or key.
    """
    if isinstance(value, Schedule):
        return value
    value = scalar(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Constant(value)
    if isinstance(value, Mapping):
        return _from_table(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise ConfigError("a schedule written as a list needs at least one factor")
        return Product(tuple(schedule(item) for item in value))
    if callable(value):
        return Function(value)
    raise ConfigError(f"expected a number, or a schedule as a table or list, got {shown(value)}")


def _from_table(table: Mapping[str, Any]) -> Schedule:
    settings = dict(table)
    kind, kinds = settings.pop("kind", None), sorted({*CURVES, Function.kind})
    if kind is None:
        raise ConfigError(f"a schedule needs a kind ({', '.join(kinds)}), got {shown(table)}")
    if kind not in kinds:
        raise unknown("kind of schedule", str(kind), kinds)
    if kind == Function.kind:
        _require_keys(kind, settings.keys() - {"digest"}, ["name"])
        return Function(as_function(settings))
    fields = _fields(CURVES[kind])
    _require_keys(kind, settings, fields)
    try:
        curve: Schedule = CURVES[kind](**{fields[key].name: item for key, item in settings.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"schedule {kind!r}: {' '.join(str(error.args[0]).split())}") from error
    return curve


def _require_keys(kind: str, keys: Iterable[str], known: Iterable[str]) -> None:
    for key in keys:
        if key not in known:
            raise unknown(f"setting of schedule {kind!r}:", str(key), known)


def _fields(curve: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """The keys of a table and the fields that they set; ``from`` is a word of Python's own, its field is `from_`."""
    return {field.metadata.get("key") or field.name: field for field in attrs.fields(curve)}


def to_data(value: Schedule) -> Any:
    """JSON-ready data that `schedule` turns back into an equal schedule, but for functions without a name."""
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Product):
        return [to_data(factor) for factor in value.factors]
    if isinstance(value, Function):
        return {"kind": value.kind, **function_data(value.function)}
    out: dict[str, Any] = {"kind": value.kind}
    for key, field in _fields(type(value)).items():
        setting = getattr(value, field.name)
        if setting != field.default:
            out[key] = [list(point) for point in setting] if field.name == "points" else setting
    return out
