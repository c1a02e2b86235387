"""Every force and drift against an independent float64 integration, alone and in stacks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from emnist_diff.discovery import installed
from emnist_diff.records import DriftSpec, ForceSpec


def test_the_tables_hold_the_whole_zoo(tables):
    for kind, table in ((ForceSpec, tables.forces), (DriftSpec, tables.drifts)):
        there = {e.spec.name for e in installed().of(kind) if e.distribution == "emnist-diff"}
        assert there == {item["name"] for item in table.values()} | {"user_custom"}


@pytest.mark.parametrize("base", ["cfg", "cond", "uncond"])
def test_a_force_alone(zoo, run, force, base):
    walked = zoo.assert_exact(run([force], base=base), labels=(0, 2, 1))
    assert (np.abs(walked.forces).max() > 0.01) == (force["name"] != "none")


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm"])
def test_a_drift_alone(zoo, run, drift, scheduler):
    walked = zoo.assert_exact(run(drifts=[drift], scheduler=scheduler))
    plain = zoo.walk(run(scheduler=scheduler))
    assert (np.abs(walked.end - plain.end).max() > 1e-3) == (drift["name"] != "none")


def test_functions_of_ones_own(zoo, run, custom):
    force = {"name": "user_custom", "function": custom("swirl"), "reads": ["B"], "weight": 0.5}
    weighing = {"name": "user_schedule", "schedule": custom("weigh")}
    zoo.assert_exact(run([force, weighing], [{"name": "user_custom", "function": custom("shake")}]))


STRETCHED = [
    ("drift_noise", "sigma", {}),
    ("attract_class", "strength", {"target": "B"}),
    ("repel_class", "strength", {"target": "B"}),
    *(("blend_two", key, {"target": "B", "secondary": "C"}) for key in ("w_a", "w_b", "alpha", "strength")),
    *(("subtract_two", key, {"target": "B", "secondary": "C"}) for key in ("w_pos", "w_neg")),
    ("switch_two", "strength", {"target": "B", "secondary": "C"}),
    ("cycle_classes", "strength", {}),
    ("oscillate_two", "amp", {"target": "B", "secondary": "C"}),
    ("ramp_attract", "weight", {"target": "B"}),
    ("user_schedule", "weight", {"schedule": [[0, {"A": 1}], [1, {"B": 1}]]}),
    ("weighted_multi", "weight", {"weights": {"A": 1, "C": -0.5}}),
    ("drift_noise", "weight", {"sigma": 0.2}),
]


@pytest.mark.parametrize(("name", "field", "more"), STRETCHED)
def test_every_scalar_of_a_force_takes_a_schedule(zoo, run, tables, name, field, more):
    ends = set()
    for key in ("window of ramp", "table", "falling ramp by timestep"):
        schedule = tables.taken({"name": name}, tables.schedules[key])
        ends.add(zoo.assert_exact(run([{**more, "name": name, field: schedule}])).end.tobytes())
    assert len(ends) == 3


def test_every_schedule_weighs_forces_and_drifts(zoo, run, tables, schedule):
    weight = tables.taken({"name": "clamp"}, schedule)
    clamp, default = ({**tables.drifts[name], "weight": weight} for name in ("clamp", "default"))
    zoo.assert_exact(run([{**tables.forces["weighted_multi"], "weight": schedule}], [clamp, default]))


def test_every_scalar_of_a_drift_takes_a_schedule(zoo, run):
    for name in ("default", "time_scaled", "inverse_time_scaled", "oscillatory"):
        for field in ("noise_scale", *(["decay"] if name == "default" else [])):
            zoo.assert_exact(run(drifts=[{"name": name, field: {"kind": "ramp", "start": 0.1, "end": 0.02}}]))


@pytest.mark.parametrize(
    "bounds",
    [{"clip_abs": 0.2}, {"clip_norm": 0.4}, {"clip_abs": 0.2, "clip_norm": 0.3}, {"clip_norm": 1e6}],
    ids=str,
)
def test_bounds_on_a_force_and_on_the_sum(zoo, run, tables, bounds):
    forces = tables.forces
    stack = [{**forces["attract_class"], "weight": 2.0}, forces["drift_noise"], forces["subtract_two"]]
    walked = zoo.assert_exact(run(stack, **bounds))
    total = walked.prediction - walked.base
    assert np.abs(total).max() <= bounds.get("clip_abs", np.inf) + 1e-6
    assert np.sqrt((total**2).sum(-1)).max() <= bounds.get("clip_norm", np.inf) + 1e-6

    walked = zoo.assert_exact(run([{**force, **bounds} for force in stack]))
    assert np.abs(walked.forces).max() <= bounds.get("clip_abs", np.inf) * (1 + 1e-6)
    assert np.sqrt((walked.forces**2).sum(-1)).max() <= bounds.get("clip_norm", np.inf) * (1 + 1e-6)


def test_a_run_of_one_step(zoo, run, tables):
    """Its division by the square root of alpha_bar = 4e-5 costs two digits of float32."""
    forces = tables.forces
    zoo.assert_exact(
        run([forces["ramp_attract"], forces["switch_two"]], [tables.drifts["clamp"]], steps=1), tolerance=2e-4
    )


@settings(max_examples=120, deadline=None)
@given(data=st.data(), mixture=st.integers(0, 50), components=st.integers(1, 3))
def test_random_stacks_of_up_to_five(make_zoo, tables, data, mixture, components):
    zoo = make_zoo(shape=(4,), classes="ABCD", components=components, spread=0.6, seed=mixture)
    try:
        walked = zoo.assert_exact(data.draw(tables.stacks), tolerance=3e-5, ids=(3, 0), labels=(2, 1))
    except zoo.ill_conditioned:
        reject()
    for frame in walked.exact[:-1]:  # the ledger adds up, bit for bit
        total = frame["base"]
        for contribution in frame.group("forces"):
            total = total + contribution
        assert total.numpy().tobytes() == frame["prediction"].numpy().tobytes()
