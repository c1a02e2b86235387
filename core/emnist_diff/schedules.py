"""Weights over time, as data: what a scalar setting is at each step of a run.

A schedule is written as a number (constant), as a table with a ``kind``, or as a list of these (their product)::

    strength = 2.0
    strength = {kind = "ramp", start = 0, end = 2}
    strength = [{kind = "window", from = 0.2, to = 0.8}, {kind = "cosine", start = 1, end = 0}]

The kinds are those that plugins offer (`records.ScheduleSpec`). In Python a schedule may also be a function, which the
default kind takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import attrs
from attrs import validators as v

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError, PluginError, unknown
from emnist_diff.plugins import Entry, load_factory
from emnist_diff.records import ScheduleSpec
from emnist_diff.scalars import scalar
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo


class Schedule:
    """A scalar at each step; ``schedule(at)`` is its value. Frozen, comparable, and plain data by `to_data`."""

    kind: ClassVar[str] = ""

    def __call__(self, at: StepInfo) -> float:
        raise NotImplementedError  # each kind has a formula of its own

    @classmethod
    def _keys(cls: type[Any]) -> dict[str, attrs.Attribute[Any]]:
        """The keys of a table and the fields that they set: ``from`` is a word of Python's own, its field `from_`."""
        return {field.metadata.get("key") or field.name: field for field in attrs.fields(cls)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Schedule:
        """The schedule of this kind that a table means.  settings: the table without its ``kind``.

        Raises `UnknownName` for an unknown key, `ConfigError` for a value that does not do.
        """
        keys = cls._keys()
        for key in settings:
            if key not in keys:
                raise unknown(f"setting of schedule {cls.kind!r}:", str(key), keys)
        try:
            return cls(**{keys[key].name: item for key, item in settings.items()})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"schedule {cls.kind!r}: {' '.join(str(error.args[0]).split())}") from error

    def to_data(self) -> Any:
        """JSON-ready data that `schedule` turns back into an equal schedule; settings at their defaults are left
        out."""
        out: dict[str, Any] = {"kind": self.kind}
        for key, field in self._keys().items():
            setting = getattr(self, field.name)
            if setting != field.default:
                out[key] = _lists(setting)
        return out


def _float(value: Any) -> Any:
    """Whole numbers as floats, so that 2 and 2.0 are recorded alike; anything else as it is, for `_finite` to judge."""
    value = scalar(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return value


def _finite(instance: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not math.isfinite(value):
        key = attribute.metadata["key"] or attribute.name
        raise ConfigError(f"{key}: expected a finite number, got {shown(value)}")


def number(default: float | None, help: str, key: str = "", **more: Any) -> Any:
    """A field for a finite number; one whose default is None, such as an end of an interval, also takes None."""
    judge = v.optional(_finite) if default is None else _finite
    return attrs.field(default=default, converter=_float, validator=judge, metadata={"help": help, "key": key}, **more)


@attrs.frozen
class Constant(Schedule):
    """The same at every step; written as a plain number."""

    kind: ClassVar[str] = "constant"
    value: float = number(1.0, "the value")

    def __call__(self, at: StepInfo) -> float:
        return self.value

    def to_data(self) -> Any:
        """The number."""
        return self.value


@attrs.frozen
class Product(Schedule):
    """The product of schedules; written as a list."""

    kind: ClassVar[str] = "product"
    factors: tuple[Schedule, ...] = attrs.field(validator=v.min_len(1))

    def __call__(self, at: StepInfo) -> float:
        return math.prod(factor(at) for factor in self.factors)

    def to_data(self) -> Any:
        """The list."""
        return [factor.to_data() for factor in self.factors]


def schedule(value: Any) -> Schedule:
    """A schedule from data (a number, a table, a list), a function, or itself.

    Raises `ConfigError` naming what is wrong, `UnknownName` for an unknown kind or key, `PluginError` for a kind whose
    plugin is broken.
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
        for entry in installed().of(ScheduleSpec):
            if entry.spec.default:
                return cast(Callable[[Any], Schedule], _class_of(entry))(value)
    raise ConfigError(f"expected a number, or a schedule as a table or list, got {shown(value)}")


def _from_table(table: Mapping[str, Any]) -> Schedule:
    settings, registry = dict(table), installed()
    kind, kinds = settings.pop("kind", None), {entry.spec.name for entry in registry.of(ScheduleSpec)}
    if kind is None:
        raise ConfigError(f"a schedule needs a kind ({', '.join(sorted(kinds))}), got {shown(table)}")
    if kind not in kinds:
        raise unknown("kind of schedule", str(kind), kinds)
    return _class_of(registry.resolve(ScheduleSpec, kind)).from_settings(settings)


def _class_of(entry: Entry[ScheduleSpec]) -> type[Schedule]:
    """The class that a record names. Raises `PluginError` for one that is no schedule of the record's kind."""
    kind, factory = entry.spec.name, load_factory(entry)
    if not (attrs.has(factory) and issubclass(factory, Schedule) and factory.kind == kind):
        raise PluginError(f"schedule {kind!r} is broken: its factory is not an attrs class of schedules of that kind")
    return cast("type[Schedule]", factory)


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value
