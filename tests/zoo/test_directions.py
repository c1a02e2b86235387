"""A force whose name says a direction goes there, whatever the sign of its numbers, or is refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emnist_diff.discovery import installed
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.forecast import preview
from emnist_diff_plugins.layers import configure
from emnist_diff_plugins.reviews.signs import magnitude, sign

B = {"target": "B"}
PAIR = {"target": "A", "secondary": "B"}
FALLING = {"kind": "ramp", "start": -0.5, "end": -2}
CROSSING = {"kind": "ramp", "start": 1, "end": -1}


def falling(step, steps):
    return -1.0 - step


AGAIN = {
    "weight": ({"name": "repel_class", **B, "weight": -1.5}, {"name": "repel_class", **B, "weight": 1.5}),
    "strength": ({"name": "repel_class", **B, "strength": -1.5}, {"name": "repel_class", **B, "strength": 1.5}),
    "both": (
        {"name": "repel_class", **B, "strength": -0.5, "weight": -2},
        {"name": "repel_class", **B, "strength": 0.5, "weight": 2},
    ),
    "schedule": (
        {"name": "repel_class", **B, "weight": FALLING},
        {"name": "repel_class", **B, "weight": {"kind": "ramp", "start": 0.5, "end": 2}},
    ),
    "product": (
        {"name": "repel_class", **B, "strength": [-2, {"kind": "window", "from": 0.5}]},
        {"name": "repel_class", **B, "strength": [2, {"kind": "window", "from": 0.5}]},
    ),
    "function": (
        {"name": "repel_class", **B, "weight": falling},
        {"name": "repel_class", **B, "weight": lambda step, steps: 1.0 + step},
    ),
    "subtraction": (
        {"name": "subtract_two", **PAIR, "w_pos": 3, "w_neg": -2},
        {"name": "subtract_two", **PAIR, "w_pos": 3, "w_neg": 2},
    ),
}


@pytest.mark.parametrize(("asked", "meant"), AGAIN.values(), ids=AGAIN)
def test_a_minus_that_says_the_name_again_is_its_magnitude(zoo, run, log, asked, meant):
    one, other = zoo.walk(run([asked])), zoo.walk(run([meant]))
    assert np.array_equal(one.forces, other.forces)
    assert np.abs(one.forces).max() > 0
    warned = [entry for entry in log if entry["event"] == "force.negative"]
    numbers = [key for key in ("weight", "strength", "w_neg") if asked.get(key) != meant.get(key)]
    assert [entry["setting"].split(" =")[0] for entry in warned] == numbers


def test_a_preset_passes_its_sign_on(zoo, log):
    for name, settings_ in (("repel_class", B), ("subtract", {"positive": "A", "negative": "B"})):
        key = "strength" if name == "repel_class" else "w_neg"
        one, other = (
            zoo.walk({"steps": 4, "preset": {"name": name, "settings": {**settings_, key: value}}}) for value in (-2, 2)
        )
        assert np.array_equal(one.end, other.end)


def test_what_is_recorded_is_what_acts(cli, tmp_path):
    stack = [{"name": "force_repel_class", "target_class": "B", "weight": -1.5}]
    model = ("--denoiser", "gaussian-mixture:shape=[2],classes=AB", "--steps", 3, "--total-videos", 1)
    finished = cli("run", *model, "--force-stack", json.dumps(stack), "--output", tmp_path)
    assert finished.code == 0
    assert finished.err.count("force.negative") == 1
    file = tmp_path / "A" / "trajectory.h5"
    with h5py.File(file) as f:
        assert json.loads(f["config"][()])["forces"][0]["weight"] == 1.5
        assert f["forces/00_repel_class/weight"][:].tolist() == [1.5] * 3
    assert cli("replay", file).code == 0


REFUSED = {
    "repulsion that crosses": (
        {"name": "repel_class", "weight": CROSSING},
        "force 'repel_class': weight changes its sign, and it pushes away — use attract_class to pull, or "
        "weighted_multi for a weight that changes its sign",
    ),
    "negative attraction": (
        {"name": "attract_class", **B, "weight": -1.5},
        "force 'attract_class': weight = -1.5 is negative, and it pulls — use repel_class to push away",
    ),
    "negative strength": ({"name": "attract_class", "strength": FALLING}, "strength is negative, and it pulls"),
    "attraction by a wave": ({"name": "attract_class", "strength": {"kind": "sine"}}, "strength changes its sign"),
    "by a product": ({"name": "attract_class", "strength": [2, {"kind": "sine"}]}, "strength changes its sign"),
    "by a function": (
        {"name": "attract_class", "strength": lambda step, steps: 1.0 - step},
        "strength changes its sign",
    ),
    "by a table of sigma": (
        {"name": "attract_class", "weight": {"kind": "table", "points": [[0.1, -1], [10, 1]], "by": "sigma"}},
        "weight changes its sign",
    ),
    "between two steps": (
        {"name": "repel_class", "weight": {"kind": "sine", "offset": 0.99, "cycles": 4, "phase": 0.25}},
        "weight changes its sign",
    ),
    "a ramp from below": ({"name": "ramp_attract", "start": -1, "strength": 2}, "start = -1 is negative"),
    "a ramp to below": ({"name": "ramp_attract", "end_w": -1}, "strength = -1 is negative"),
    "exchanged classes": ({"name": "subtract_two", **PAIR, "weight": -1}, "use the two classes exchanged"),
    "a first class pushed away": ({"name": "subtract_two", **PAIR, "w_pos": -1}, "use the two classes exchanged"),
    "a second class in turns": ({"name": "subtract_two", **PAIR, "w_neg": CROSSING}, "use blend_two for both"),
}


@pytest.mark.parametrize(("asked", "message"), REFUSED.values(), ids=REFUSED)
def test_what_contradicts_the_name_is_refused(zoo, run, asked, message):
    with pytest.raises(ConfigError) as refused:
        zoo.layout(run([asked]))
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["attract_class", "ramp_to_class", "competitive"])
def test_presets_that_attract_are_refused_too(name):
    settings_ = {"classes": ["A", "B"]} if name == "competitive" else B
    asked = {"name": name, "settings": {**settings_, "strength": -1}}
    mixture = {"denoiser": {"name": "gaussian-mixture", "classes": "ABC"}, "steps": 3}
    with pytest.raises(ConfigError, match=r"strength = -1 is negative, and it pulls — use repel_class"):
        preview(installed(), configure(installed(), {**mixture, "preset": asked})[0])


def test_drifts_go_their_way(zoo, run, drift):
    with pytest.raises(ConfigError, match=r"weight = -0\.5 is negative, and it goes a share of its way"):
        zoo.layout(run(drifts=[{**drift, "weight": -0.5}]))


def test_forces_without_a_direction_take_any_sign(zoo, run):
    for asked in (
        {"name": "weighted_multi", "weights": {"A": -1, "B": CROSSING}},
        {"name": "blend_two", **PAIR, "w_a": -1, "w_b": 1},
        {"name": "switch_two", **PAIR, "strength": -1},
        {"name": "cycle_classes", "weight": -1},
        {"name": "attract_class", "weight": {"kind": "window", "outside": -1}},  # outside of the run
        {"name": "attract_class", "strength": [{"kind": "window", "to": 0.5}, {"kind": "sine"}]},
        {"name": "attract_class", "strength": {"kind": "sine", "amplitude": 3, "cycles": 0.5}},
    ):
        zoo.layout(run([asked]))


# ------------------------------------------------------------------ signs

number = st.floats(-2, 2).map(lambda value: round(value, 1))
place = st.floats(-0.5, 1.5).map(lambda value: round(value, 1))
ends = {"from": place.map(lambda value: value + 0.03), "to": place.map(lambda value: value + 0.05)}
simple = st.one_of(
    number,
    *(
        st.fixed_dictionaries({"kind": st.just(kind), "start": number, "end": number}, optional=ends)
        for kind in ("ramp", "cosine", "power")
    ),
    st.fixed_dictionaries(
        {"kind": st.just("sine"), "amplitude": number, "cycles": number, "phase": number, "offset": number}
    ),
    st.fixed_dictionaries({"kind": st.just("window"), "inside": number, "outside": number}, optional=ends),
    st.dictionaries(place, number, min_size=1, max_size=4).map(
        lambda points: {"kind": "table", "points": [list(point) for point in points.items()]}
    ),
)
STEPS = 401
FINE = [StepInfo(i, STEPS, 1000.0 - i, 0.5, 0.6) for i in range(STEPS)]


@settings(max_examples=300, deadline=None)
@given(simple | st.lists(simple, min_size=1, max_size=3))
@example({"kind": "sine", "amplitude": -1.0, "cycles": 0.0, "phase": 1.5, "offset": 0.0})  # 0 but for rounding
def test_bounds_say_what_the_values_of_a_long_run_say(data):
    """But where a value is so briefly beyond 0 that not even a long run meets it."""
    made = schedule(data)
    values = np.array([made(at) for at in FINE])
    slack = 1e-9 * max(1.0, np.abs(values).max())
    met = 1 if values.min() >= -slack else -1 if values.max() <= slack else 0
    said = sign(made, values.tolist())
    if said != met:
        assert said == 0
        assert min(abs(values.min()), abs(values.max())) < 0.05
    if met < 0:
        assert [magnitude(made)(at) for at in FINE] == [-value for value in values.tolist()]
