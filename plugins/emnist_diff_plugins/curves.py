"""Curves: schedules of one formula each. Each reads a position along the run.

The position is chosen by ``by``: ``fraction`` (0 at noise, 1 at the image), ``timestep`` (of training, falling), or
``sigma`` (noise-to-signal ratio, falling). ``from`` and ``to`` bound the interval in the units of ``by``, and may fall.
"""

from __future__ import annotations

import bisect
import math
from typing import Any, ClassVar, Literal, get_args

import attrs
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule, number
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo

By = Literal["fraction", "timestep", "sigma"]


def _ends(curve: _Curve | Window) -> tuple[float, float]:
    """Where the interval of a curve begins and ends; without ends it is the whole run, in fractions.

    Raises `ConfigError` when it is left open in units that a run does not fill from 0 to 1.
    """
    if curve.by != "fraction" and (curve.from_ is None or curve.to is None):
        raise ConfigError(f"{curve.kind}: by = {curve.by!r} needs from and to")
    return (0.0 if curve.from_ is None else curve.from_, 1.0 if curve.to is None else curve.to)


def _by() -> Any:
    metadata = {"help": "position along the run: fraction, timestep or sigma"}
    return attrs.field(default="fraction", validator=v.in_(get_args(By)), metadata=metadata)


def position(at: StepInfo, by: By) -> float:
    """Where a step stands along the run, in the units of `by`."""
    return at.frac if by == "fraction" else float(getattr(at, by))


@attrs.frozen
class _Curve(Schedule):
    """From `start` to `end` as the position goes from `from_` to `to`; constant outside."""

    start: float = number(0.0, "value at the beginning")
    end: float = number(1.0, "value at the end")
    from_: float | None = number(None, "where it begins; the start of the run when left out", key="from")
    to: float | None = number(None, "where it ends; the end of the run when left out")
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
    power: float = number(2.0, "exponent, > 0", kw_only=True)

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
    amplitude: float = number(1.0, "height of the wave")
    cycles: float = number(1.0, "waves in a run")
    phase: float = number(0.0, "where it begins, in waves; 0.25 is a cosine")
    offset: float = number(0.0, "value that it swings about")

    def __call__(self, at: StepInfo) -> float:
        return self.offset + self.amplitude * math.sin(2.0 * math.pi * (self.cycles * at.frac + self.phase))


@attrs.frozen
class Window(Schedule):
    """`inside` between `from` and `to`, ends included, `outside` elsewhere."""

    kind: ClassVar[str] = "window"
    from_: float | None = number(None, "one end; the start of the run when left out", key="from")
    to: float | None = number(None, "the other end; the end of the run when left out")
    inside: float = number(1.0, "value between the ends")
    outside: float = number(0.0, "value elsewhere")
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
