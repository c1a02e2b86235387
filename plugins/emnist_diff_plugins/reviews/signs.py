"""The sign of a schedule in a run: from bounds that hold for any steps where there are some, else from its values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

from emnist_diff.schedules import Constant, Product, Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.curves import Cosine, Power, Ramp, Sine, Table, Window

_ROUNDING = 1e-12
"""What a value may be beyond 0, as a share of the largest: the sine of pi is not 0 in floating-point numbers."""
_BEGIN, _END = (StepInfo(index, 2, 0.0, 0.5, 1.0) for index in (0, 1))


@attrs.frozen
class Span:
    """Where the values of a schedule lie: low … high.

    exact: whether both are reached, or come arbitrarily near, in a run of many steps.
    """

    low: float
    high: float
    exact: bool

    @property
    def sign(self) -> int | None:
        """1 for values of at least 0, -1 for values of at most 0, 0 for both kinds; None where that is not known."""
        slack = _ROUNDING * max(abs(self.low), abs(self.high))
        if self.low >= -slack:
            return 1
        if self.high <= slack:
            return -1
        return 0 if self.exact else None


def span(schedule: Schedule) -> Span | None:
    """The values of a schedule over a run of any length; None where nothing is known, as of functions."""
    if isinstance(schedule, Constant):
        return Span(schedule.value, schedule.value, exact=True)
    if isinstance(schedule, Ramp | Cosine | Power):
        ends = (schedule.start, schedule.end)
        return _hull([schedule(_BEGIN), schedule(_END)], exact=True) if _in_run(schedule) else _hull(ends, exact=False)
    if isinstance(schedule, Sine):
        return _of_sine(schedule)
    if isinstance(schedule, Window):
        return _of_window(schedule)
    if isinstance(schedule, Table):
        values = [value for place, value in schedule.points if not _in_run(schedule) or 0 <= place <= 1]
        ends_of_run = [schedule(_BEGIN), schedule(_END)] if _in_run(schedule) else []
        return _hull([*values, *ends_of_run], exact=_in_run(schedule))
    if isinstance(schedule, Product):
        return _of_product(schedule)
    return None


def sign(schedule: Schedule, values: Iterable[float]) -> int:
    """1 where it is at least 0 throughout, -1 where it is at most 0, 0 where it changes its sign.

    values: those of the run, which decide where bounds do not; not asked for otherwise.
    """
    known = span(schedule)
    if known is not None and known.sign is not None:
        return known.sign
    return _hull(list(values), exact=True).sign or 0


def magnitude(schedule: Schedule) -> Schedule:
    """A schedule that is at most 0 throughout, with the sign changed."""
    if isinstance(schedule, Constant):
        return Constant(-schedule.value)
    factors = schedule.factors if isinstance(schedule, Product) else (schedule,)
    return Product((Constant(-1.0), *factors))


def _in_run(schedule: Ramp | Cosine | Power | Window | Table) -> bool:
    """Whether a schedule's positions are fractions of a run, of which it is known that they go from 0 to 1."""
    return schedule.by == "fraction"


def _hull(values: Sequence[float], exact: bool) -> Span:
    return Span(min(values), max(values), exact)


def _of_sine(wave: Sine) -> Span:
    begin, end = sorted((wave.phase, wave.phase + wave.cycles))
    turns = [begin, end]
    for extreme in (0.25, 0.75):  # in turns, where the sine is 1 and -1
        first = math.ceil(begin - extreme) + extreme
        turns += [first] if first <= end else []
    values = [wave.offset + wave.amplitude * math.sin(2.0 * math.pi * turn) for turn in turns]
    slack = _ROUNDING * (abs(wave.offset) + abs(wave.amplitude))
    return _hull([value if abs(value) > slack else 0.0 for value in values], exact=True)


def _of_window(window: Window) -> Span:
    if not _in_run(window):
        return _hull([window.inside, window.outside], exact=False)
    low, high = sorted((0.0 if window.from_ is None else window.from_, 1.0 if window.to is None else window.to))
    reached = [window.inside] if low <= 1 and high >= 0 else []
    reached += [window.outside] if low > 0 or high < 1 else []
    return _hull(reached, exact=True)


def _of_product(product: Product) -> Span | None:
    """Bounds of the product of bounds: too wide where factors are small together, exact with one that varies."""
    total = Span(1.0, 1.0, exact=True)
    varying = 0
    for factor in product.factors:
        one = span(factor)
        if one is None:
            return None
        varying += one.low != one.high
        ends = [a * b for a in (total.low, total.high) for b in (one.low, one.high)]
        total = _hull(ends, exact=total.exact and one.exact and varying < 2)
    return total
