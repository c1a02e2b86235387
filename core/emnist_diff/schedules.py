"""Weights over time, as data: what a scalar setting is at each step of a run.

A schedule is written as a number (constant), as a table with a ``kind``, or as a list of these (their product)::

    strength = 2.0
    strength = {kind = "ramp", start = 0, end = 2}
    strength = [{kind = "window", from = 0.2, to = 0.8}, {kind = "cosine", start = 1, end = 0}]

Each kind but ``constant`` reads a position along the run, chosen by ``by``: ``fraction`` (0 at noise, 1 at the image),
``timestep`` (of training, falling), or ``sigma`` (noise-to-signal ratio, falling). ``from`` and ``to`` bound the
interval in the units of ``by``, and may fall.

In Python a schedule may also be a function of `StepInfo`, or of (step, steps). A function that can be imported is
recorded by its name; another one by its name and a digest of its code, which says whether it changed but cannot be
loaded.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import importlib
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs
from attrs import validators as v

from emnist_diff.errors import ConfigError, unknown
from emnist_diff.scalars import scalar
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo

By = Literal["fraction", "timestep", "sigma"]
_BY = ("fraction", "timestep", "sigma")


class Schedule:
    """A scalar at each step; ``schedule(at)`` is its value. Frozen, comparable, and plain data by `to_data`."""

    kind: ClassVar[str] = ""

    def __call__(self, at: StepInfo) -> float:
        raise NotImplementedError


def _float(value: Any) -> Any:
    """Whole numbers as floats, so that 2 and 2.0 are recorded alike; anything else as it is, for `_number` to judge."""
    value = scalar(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return value


def _number(instance: Any, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ConfigError(
            f"{attribute.metadata.get('key') or attribute.name}: expected a finite number, got {shown(value)}"
        )


def _field(default: Any, help: str, key: str = "", **more: Any) -> Any:
    return attrs.field(
        default=default, converter=_float, validator=_number, metadata={"help": help, "key": key}, **more
    )


def _end(help: str, key: str = "") -> Any:
    """One end of an interval; None for that of the run."""
    return attrs.field(
        default=None, converter=_float, validator=v.optional(_number), metadata={"help": help, "key": key}
    )


def _ends(asked: Any) -> tuple[float, float]:
    """Where an interval begins and ends: that of the whole run, in fractions, unless it is said.

    Raises `ConfigError` when it is left open in units that a run does not fill from 0 to 1.
    """
    if asked.by != "fraction" and (asked.from_ is None or asked.to is None):
        raise ConfigError(f"{asked.kind}: by = {asked.by!r} needs from and to")
    return (0.0 if asked.from_ is None else asked.from_, 1.0 if asked.to is None else asked.to)


def _keys(cls: type[Any]) -> dict[str, Any]:
    """The keys of a table → attrs fields; ``from`` is a word of Python's own, and its field is called `from_`."""
    return {field.metadata.get("key") or field.name: field for field in attrs.fields(cls)}


def _by() -> Any:
    return attrs.field(
        default="fraction",
        validator=v.in_(_BY),
        metadata={"help": "position along the run: fraction, timestep or sigma"},
    )


def position(at: StepInfo, by: By) -> float:
    """Where a step stands along the run, in the units of `by`."""
    return at.frac if by == "fraction" else float(getattr(at, by))


@attrs.frozen
class Constant(Schedule):
    """The same at every step; written as a plain number."""

    kind: ClassVar[str] = "constant"
    value: float = _field(1.0, "the value")

    def __call__(self, at: StepInfo) -> float:
        return self.value


@attrs.frozen
class _Curve(Schedule):
    """From `start` to `end` as the position goes from `from_` to `to`; constant outside."""

    start: float = _field(0.0, "value at the beginning")
    end: float = _field(1.0, "value at the end")
    from_: float | None = _end("where it begins; the start of the run when left out", key="from")
    to: float | None = _end("where it ends; the end of the run when left out")
    by: By = _by()

    def __attrs_post_init__(self) -> None:
        begin, end = _ends(self)
        if begin == end:
            raise ConfigError(f"{self.kind}: from and to are both {begin:g}")

    def progress(self, at: StepInfo) -> float:
        """0 before the interval, 1 after it, linear between."""
        begin, end = _ends(self)
        return min(1.0, max(0.0, (position(at, self.by) - begin) / (end - begin)))

    def shape(self, u: float) -> float:
        """The share of the way that is done at progress `u`, both 0 … 1."""
        raise NotImplementedError

    def __call__(self, at: StepInfo) -> float:
        return self.start + (self.end - self.start) * self.shape(self.progress(at))


@attrs.frozen
class Ramp(_Curve):
    """A straight line from start to end."""

    kind: ClassVar[str] = "ramp"

    def shape(self, u: float) -> float:
        return u


@attrs.frozen
class Cosine(_Curve):
    """Half a cosine from start to end: flat at both."""

    kind: ClassVar[str] = "cosine"

    def shape(self, u: float) -> float:
        return 0.5 * (1.0 - math.cos(math.pi * u))


@attrs.frozen
class Power(_Curve):
    """start + (end − start) · u^power, with u the progress: late for power > 1, early below."""

    kind: ClassVar[str] = "power"
    power: float = _field(2.0, "exponent, > 0", kw_only=True)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.power <= 0:
            raise ConfigError(f"power: power = {self.power:g} must be more than 0")

    def shape(self, u: float) -> float:
        return float(u**self.power)


@attrs.frozen
class Sine(Schedule):
    """offset + amplitude · sin(2π (cycles · fraction + phase)), by fraction of the run."""

    kind: ClassVar[str] = "sine"
    amplitude: float = _field(1.0, "height of the wave")
    cycles: float = _field(1.0, "waves in a run")
    phase: float = _field(0.0, "where it begins, in waves; 0.25 is a cosine")
    offset: float = _field(0.0, "value that it swings about")

    def __call__(self, at: StepInfo) -> float:
        return self.offset + self.amplitude * math.sin(2.0 * math.pi * (self.cycles * at.frac + self.phase))


@attrs.frozen
class Window(Schedule):
    """`inside` between `from` and `to`, ends included, `outside` elsewhere."""

    kind: ClassVar[str] = "window"
    from_: float | None = _end("one end; the start of the run when left out", key="from")
    to: float | None = _end("the other end; the end of the run when left out")
    inside: float = _field(1.0, "value between the ends")
    outside: float = _field(0.0, "value elsewhere")
    by: By = _by()

    def __attrs_post_init__(self) -> None:
        _ends(self)

    def __call__(self, at: StepInfo) -> float:
        low, high = sorted(_ends(self))
        return self.inside if low <= position(at, self.by) <= high else self.outside


def _points(value: object) -> tuple[tuple[float, float], ...]:
    try:
        points = sorted((float(where), float(what)) for where, what in value)  # type: ignore[attr-defined]  # tried
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"points: expected pairs [position, value], got {shown(value)}") from error
    if not points or len({where for where, _ in points}) < len(points):
        raise ConfigError(f"points: expected different positions, at least one, got {shown(value)}")
    if not all(math.isfinite(number) for point in points for number in point):
        raise ConfigError(f"points: expected finite numbers, got {shown(value)}")
    return tuple(points)


@attrs.frozen
class Table(Schedule):
    """Values at positions, straight lines between them (`interpolate`) or steps that hold the value of the point
    passed last; constant before the first and after the last."""

    kind: ClassVar[str] = "table"
    points: tuple[tuple[float, float], ...] = attrs.field(
        converter=_points, metadata={"help": "pairs [position, value]"}
    )
    interpolate: bool = attrs.field(
        default=True, validator=v.instance_of(bool), metadata={"help": "straight lines between points, or steps"}
    )
    by: By = _by()

    def __call__(self, at: StepInfo) -> float:
        where = position(at, self.by)
        places = [p for p, _ in self.points]
        right = bisect.bisect_right(places, where)
        if self.interpolate:
            if right == 0 or right == len(places):
                return self.points[min(right, len(places) - 1)][1]
            (p, a), (q, b) = self.points[right - 1], self.points[right]
            return a + (b - a) * (where - p) / (q - p)
        if self.by == "fraction":  # positions are passed upward …
            return self.points[max(right - 1, 0)][1]
        return self.points[min(bisect.bisect_left(places, where), len(places) - 1)][1]  # … or downward


@attrs.frozen
class Product(Schedule):
    """The product of schedules; written as a list."""

    kind: ClassVar[str] = "product"
    factors: tuple[Schedule, ...] = attrs.field(validator=v.min_len(1))

    def __call__(self, at: StepInfo) -> float:
        return math.prod(factor(at) for factor in self.factors)


@attrs.frozen
class Function(Schedule):
    """A Python function of `StepInfo` or of (step, steps); as data, ``{kind = "function", name =
    "package.module:function"}``."""

    kind: ClassVar[str] = "function"
    function: Callable[[StepInfo], float]

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


_KINDS: dict[str, type[Any]] = {c.kind: c for c in (Constant, Ramp, Cosine, Power, Sine, Window, Table)}


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


def to_data(value: Schedule) -> Any:
    """JSON-ready data that `schedule` turns back into an equal schedule, but for functions without a name."""
    if isinstance(value, Constant):
        return value.value
    if isinstance(value, Product):
        return [to_data(factor) for factor in value.factors]
    if isinstance(value, Function):
        return {"kind": "function", **function_data(value.function)}
    out: dict[str, Any] = {"kind": value.kind}
    for key, field in _keys(_KINDS[value.kind]).items():
        said = getattr(value, field.name)
        if said != field.default:
            out[key] = [list(point) for point in said] if field.name == "points" else said
    return out


def function_data(function: Callable[..., Any]) -> dict[str, str]:
    """How a function is recorded: by name where that leads back to it, else with a digest of its code beside."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__qualname__)
    said = f"{module}:{name}"
    try:
        if load(said) is function:
            return {"name": said}
    except ConfigError:
        pass
    return {"name": said, "digest": hashlib.sha256(_seen(function).encode()).hexdigest()[:16]}


def _seen(value: Any, outer: tuple[Any, ...] = ()) -> str:
    """What makes a function do what it does, as text that is the same in another process: its code, its defaults, and
    the values that it closes over. `outer` are the functions that this one is part of."""

    def of(*parts: Any) -> str:
        return f"({','.join(_seen(part, (*outer, value)) for part in parts)})"

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
        return f"{{{','.join(sorted(_seen(item) for item in value))}}}"
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


def _from_table(table: Mapping[str, Any]) -> Schedule:
    said = dict(table)
    kind = said.pop("kind", None)
    if kind == "function":
        if unknown_keys := said.keys() - {"name", "digest"}:
            raise unknown("setting of schedule 'function':", min(unknown_keys), ["name"])
        return Function(as_function(said))
    if kind not in _KINDS:
        if kind is None:
            raise ConfigError(
                f"a schedule needs a kind ({', '.join(sorted({*_KINDS, 'function'}))}), got {shown(table)}"
            )
        raise unknown("kind of schedule", str(kind), {*_KINDS, "function"})
    cls = _KINDS[kind]
    known = _keys(cls)
    for key in said:
        if key not in known:
            raise unknown(f"setting of schedule {kind!r}:", str(key), known)
    try:
        return cls(**{known[key].name: item for key, item in said.items()})  # type: ignore[no-any-return]  # one of the kinds
    except (TypeError, ValueError) as error:
        raise ConfigError(f"schedule {kind!r}: {' '.join(str(error.args[0]).split())}") from error
