"""Weights over time: their values, their data, and what is refused."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emnist_diff.errors import ConfigError, PluginError, UnknownName
from emnist_diff.plugins import Entry, Registry
from emnist_diff.records import ScheduleSpec
from emnist_diff.schedules import Constant, Product, Schedule, schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.functions import Function


def at(index: int, steps: int = 11, timestep: float = 0.0, alpha_bar: float = 0.5) -> StepInfo:
    return StepInfo(index, steps, timestep, alpha_bar, 1.0)


def values(data, steps: int = 11) -> list[float]:
    made = schedule(data)
    return [made(at(i, steps)) for i in range(steps)]


def test_a_number_is_constant():
    assert schedule(2) == Constant(2)
    assert values(2.5, 3) == [2.5, 2.5, 2.5]
    assert schedule(2.5).to_data() == 2.5


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"kind": "ramp"}, lambda f: f),
        ({"kind": "ramp", "start": 3, "end": 1}, lambda f: 3 - 2 * f),
        ({"kind": "ramp", "from": 0.2, "to": 0.7}, lambda f: min(1, max(0, (f - 0.2) / 0.5))),
        ({"kind": "ramp", "from": 0.7, "to": 0.2}, lambda f: min(1, max(0, (0.7 - f) / 0.5))),
        ({"kind": "cosine", "start": 1, "end": 0}, lambda f: 0.5 + 0.5 * math.cos(math.pi * f)),
        ({"kind": "power", "power": 3, "end": 2}, lambda f: 2 * f**3),
        ({"kind": "sine", "amplitude": 2, "cycles": 3, "phase": 0.25, "offset": 1},
         lambda f: 1 + 2 * math.cos(6 * math.pi * f)),
        ({"kind": "window", "from": 0.25, "to": 0.55, "inside": 4, "outside": -1},
         lambda f: 4 if 0.25 <= f <= 0.55 else -1),
        ({"kind": "table", "points": [[0.8, 5], [0.2, 1]]}, lambda f: min(5, max(1, 1 + 4 * (f - 0.2) / 0.6))),
        ({"kind": "table", "points": [[0.25, 1], [0.75, 2]], "interpolate": False}, lambda f: 2 if f >= 0.75 else 1),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_values_by_fraction(data, expected):
    assert values(data) == pytest.approx([expected(i / 10) for i in range(11)], abs=1e-12)


def test_values_by_timestep_and_sigma():
    ramp = schedule({"kind": "ramp", "from": 900, "to": 100, "by": "timestep", "end": 2})
    assert [ramp(at(0, timestep=t)) for t in (999, 900, 500, 100, 0)] == [0, 0, 1, 2, 2]
    window = schedule({"kind": "window", "from": 1, "to": 3, "by": "sigma"})
    assert [window(at(0, alpha_bar=1 / (1 + s * s))) for s in (0.5, 2.0, 4.0)] == [0, 1, 0]
    points = [[800, 1], [400, 2], [100, 3]]
    steps = schedule({"kind": "table", "points": points, "by": "timestep", "interpolate": False})
    assert [steps(at(0, timestep=t)) for t in (999, 800, 500, 400, 399, 100, 5)] == [1, 1, 1, 2, 2, 3, 3]


def test_an_open_window_has_the_ends_of_the_run():
    assert values({"kind": "window", "from": 0.5}, 5) == [0, 0, 1, 1, 1]
    assert values({"kind": "window", "to": 0.25}, 5) == [1, 1, 0, 0, 0]
    assert values({"kind": "window"}, 3) == [1, 1, 1]


def test_a_list_is_a_product():
    made = schedule([{"kind": "window", "from": 0.5, "to": 1}, {"kind": "ramp"}, 2])
    assert isinstance(made, Product)
    assert [made(at(i)) for i in (0, 4, 5, 10)] == [0, 0, 1.0, 2.0]


def test_functions_are_schedules_and_importable_ones_are_data():
    assert schedule(lambda at: at.index)(at(3)) == 3.0
    assert schedule(lambda step, steps: 10 * step + steps)(at(3)) == 41.0
    assert schedule(lambda at, more=1: more)(at(3)) == 1.0
    made = schedule({"kind": "function", "name": "math:floor"})
    assert made == Function(math.floor)
    assert made.to_data() == {"kind": "function", "name": "math:floor"}


def test_other_functions_are_recorded_so_that_a_change_shows():
    one, other = (schedule(f).to_data() for f in (lambda at: 1.0, lambda at: 2.0))
    assert one["name"] == other["name"]
    assert one["digest"] != other["digest"]
    json.dumps(one)
    with pytest.raises(ConfigError, match="was part of a program and cannot be loaded by name"):
        schedule(one)


def made_of(value, default=1.0, inner=2):
    def weight(at, default=default):
        def part(x):
            return x * inner

        return part(value) * default * len([x for x in "abc" if x in {"a", "b"}])

    return weight


def method_of(value):
    return Adding(value).weight


@attrs.frozen
class Adding:
    value: float

    def weight(self, at):
        return self.value


@pytest.mark.parametrize("maker", [made_of, lambda value: functools.partial(made_of, value), method_of])
def test_what_a_function_closes_over_is_part_of_its_record(maker):
    one, same, other = (schedule(maker(value)).to_data() for value in (1.5, 1.5, 2.5))
    assert one == same
    assert one["digest"] != other["digest"]


def test_defaults_and_functions_within_are_part_of_the_record_too():
    records = [made_of(1.5), made_of(1.5, default=2.0), made_of(1.5, inner=3)]
    assert len({schedule(function).to_data()["digest"] for function in records}) == 3


def test_a_function_that_calls_itself_can_be_recorded():
    def fall(step, steps):
        return 1.0 if step == 0 else 0.5 * fall(step - 1, steps)

    def rise(step, steps):
        return climb(step, steps)

    def climb(step, steps):
        return 0.0 if step == 0 else 1.0 + rise(step - 1, steps)

    assert schedule(fall).to_data()["digest"] != schedule(rise).to_data()["digest"]
    assert (schedule(fall)(at(2)), schedule(rise)(at(2))) == (0.25, 2.0)


PROGRAM = """
from emnist_diff.schedules import schedule
def made(value):
    def part(x): return [y for y in (x, 2) if y in {"a", "b", 2}]
    return lambda at: part(value)
print(schedule(made(1.5)).to_data()["digest"])
"""


def test_the_record_is_the_same_in_another_process():
    digests = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", PROGRAM]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("returned", [math.nan, math.inf, None, "much", 10**400], ids=lambda value: str(value)[:4])
def test_a_function_must_return_finite_numbers(returned):
    with pytest.raises(ConfigError, match=r"the schedule '.*' returned .* at step 3, not a finite number"):
        schedule(lambda at: returned)(at(3))


def test_whole_numbers_are_recorded_as_what_they_are_used_as():
    for data in (2, {"kind": "ramp", "end": 2}, {"kind": "window", "from": 1, "to": 2, "by": "sigma"}):
        assert json.dumps(schedule(data).to_data()) == json.dumps(
            schedule(json.loads(json.dumps(data), parse_int=float)).to_data()
        )


numbers = st.floats(-100, 100)
simple = st.one_of(
    numbers,
    st.fixed_dictionaries({"kind": st.sampled_from(["ramp", "cosine"])}, optional={"start": numbers, "end": numbers}),
    st.fixed_dictionaries(
        {"kind": st.just("power")}, optional={"power": st.floats(0.1, 9), "from": st.just(0.1), "to": st.just(0.6)}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("sine")}, optional={"amplitude": numbers, "cycles": numbers, "phase": numbers}
    ),
    st.fixed_dictionaries(
        {"kind": st.just("window"), "from": numbers, "to": numbers},
        optional={"inside": numbers, "by": st.sampled_from(["fraction", "timestep", "sigma"])},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("table"),
            "points": st.lists(st.tuples(numbers, numbers), min_size=1, unique_by=lambda p: p[0]),
        },
        optional={"interpolate": st.booleans()},
    ),
)


@given(st.one_of(simple, st.lists(simple, min_size=1, max_size=3)), st.integers(0, 10))
def test_schedules_round_trip_through_json(data, index):
    made = schedule(data)
    again = schedule(json.loads(json.dumps(made.to_data())))
    assert again == made
    assert again(at(index)) == made(at(index))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("ramp", "expected a number, or a schedule"),
        (True, "expected a number, or a schedule"),
        (None, "expected a number, or a schedule"),
        ([], "at least one factor"),
        ({"start": 1}, "a schedule needs a kind"),
        ({"kind": "ramp", "end": "x"}, "end: expected a finite number, got 'x'"),
        ({"kind": "ramp", "end": float("nan")}, "end: expected a finite number"),
        ({"kind": "ramp", "from": 0.5, "to": 0.5}, "from and to are both 0.5"),
        ({"kind": "ramp", "by": "timestep"}, "by = 'timestep' needs from and to"),
        ({"kind": "window", "from": 500, "by": "timestep"}, "by = 'timestep' needs from and to"),
        ({"kind": "ramp", "by": "time"}, "by"),
        (10**400, "value: expected a finite number"),
        ({"kind": "table", "points": [[0, 10**400]]}, "points: expected pairs"),
        ({"kind": "function", "name": "math:floor", "nmae": 1}, "'nmae' — did you mean 'name'"),
        ({"kind": "power", "power": 0}, "power = 0 must be more than 0"),
        ({"kind": "table"}, "points"),
        ({"kind": "table", "points": []}, "at least one"),
        ({"kind": "table", "points": [[0, 1], [0, 2]]}, "different positions"),
        ({"kind": "table", "points": [3]}, "pairs"),
        ({"kind": "function", "name": "no.such:thing"}, "cannot be loaded: ModuleNotFoundError"),
        ({"kind": "function", "name": "math"}, "package.module:function"),
        ({"kind": "function", "name": "math:pi"}, "is no function"),
    ],
    ids=str,
)
def test_what_is_no_schedule_is_refused(data, message):
    with pytest.raises(ConfigError, match=message) as failed:
        schedule(data)
    assert "\n" not in str(failed.value)


def test_unknown_kinds_and_keys_suggest_the_nearest():
    with pytest.raises(UnknownName, match="unknown kind of schedule 'rmap' — did you mean 'ramp'"):
        schedule({"kind": "rmap"})
    with pytest.raises(UnknownName, match="'form' — did you mean 'from'"):
        schedule({"kind": "window", "form": 0.1})


@attrs.frozen
class Stairs(Schedule):
    """Of a stranger."""

    kind = "stairs"
    heights: tuple[tuple[float, ...], ...] = attrs.field(converter=lambda rows: tuple(map(tuple, rows)))

    def __call__(self, at: StepInfo) -> float:
        return self.heights[0][at.index]


def test_a_plugin_offers_a_kind_of_schedule(monkeypatch):
    names = ("stairs", "ladder")
    specs = [ScheduleSpec(name=name, factory=f"{__name__}:Stairs", summary="a stranger's") for name in names]
    registry = Registry(tuple(Entry(spec, "my-stairs", "1") for spec in specs), ())
    monkeypatch.setattr("emnist_diff.schedules.installed", lambda: registry)
    data = {"kind": "stairs", "heights": [[3, 1]]}
    assert values(data, 2) == [3, 1]
    assert schedule(data).to_data() == data
    with pytest.raises(UnknownName, match="setting of schedule 'stairs': 'height' — did you mean 'heights'"):
        schedule({"kind": "stairs", "height": 1})
    with pytest.raises(ConfigError, match=r"a schedule needs a kind \(ladder, stairs\)"):
        schedule({})
    with pytest.raises(PluginError, match="schedule 'ladder' is broken: its factory is not an attrs class"):
        schedule({"kind": "ladder"})


def test_a_schedule_is_its_own_schedule():
    window = schedule({"kind": "window", "from": 0.1})
    assert schedule(window) is window
