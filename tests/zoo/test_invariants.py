"""What must hold of forces and drifts whatever the model, the stack and the schedules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emnist_diff.components import make
from emnist_diff.config import ComponentConfig
from emnist_diff.discovery import installed
from emnist_diff.records import ForceSpec
from emnist_diff.timeline import StepInfo

weights = st.floats(-2, 2).map(lambda w: round(w, 3))
mixtures = st.builds(
    dict,
    shape=st.sampled_from([(3,), (1, 2, 2), (2, 1, 3)]),
    classes=st.just("ABCD"),
    components=st.integers(1, 3),
    spread=st.floats(0.5, 0.8),
    seed=st.integers(0, 99),
)
many = settings(max_examples=60, deadline=None)


def same_bits(one, other) -> bool:
    """Every field of every step, and the end."""
    assert len(one.exact) == len(other.exact)
    names = ("x", "x0", "prediction", "base")
    pairs = [(a[n], b[n]) for a, b in zip(one.exact[:-1], other.exact[:-1], strict=True) for n in names]
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in [*pairs, (one.exact[-1].x, other.exact[-1].x)])


def close(one, other, tolerance) -> None:
    for a, b in ((one.prediction, other.prediction), (one.x, other.x), (one.end, other.end)):
        assert np.abs(a - b).max() <= tolerance * max(1.0, np.abs(a).max())


def at(index: int, steps: int) -> StepInfo:
    return StepInfo(index, steps, 999.0 - index, 0.5, 0.6)


def made(name: str, **said):
    return make(installed(), ForceSpec, ComponentConfig(name, settings=said)).object


# ------------------------------------------------------------------ guidance


@many
@given(mixture=mixtures, scale=st.floats(1, 3), seed=st.integers(0, 2**40))
def test_attraction_to_the_own_class_is_guidance(make_zoo, mixture, scale, seed):
    zoo, common = make_zoo(**mixture), {"steps": 6, "seed": seed}
    guided = zoo.walk({**common, "base": "cfg", "guidance_scale": scale}, labels=(2, 0, 1))
    own = {"name": "attract_class", "target": "own"}
    for base, strength in (("cond", scale - 1), ("uncond", scale)):
        for force in ({**own, "strength": strength}, {**own, "weight": strength}):
            steered = zoo.walk({**common, "base": base, "forces": [force]}, labels=(2, 0, 1))
            close(guided, steered, 1e-5)


# ------------------------------------------------------------------ algebra of stacks


@many
@given(data=st.data(), mixture=mixtures)
def test_the_order_of_forces_and_their_neighbours_do_not_matter(make_zoo, tables, data, mixture):
    """At the first step, where the states are the same: later, rounding has its own trajectory."""
    zoo = make_zoo(**mixture)
    stack = data.draw(st.lists(st.sampled_from(list(tables.forces.values())), min_size=2, max_size=5))
    shuffled = data.draw(st.permutations(stack))
    one, other = (zoo.walk({"steps": 4, "forces": forces}) for forces in (stack, shuffled))
    noisy = [force for force in stack if force["name"] == "drift_noise"]
    if len({str(force) for force in noisy}) < 2:  # two noises of different size draw by their order
        assert (
            np.abs(one.prediction[0] - other.prediction[0]).max() <= 1e-6 * np.abs(one.forces[:, 0]).sum(0).max() + 1e-6
        )
        close(one, other, 2e-5)


@many
@given(data=st.data(), mixture=mixtures)
def test_a_weight_is_a_factor(make_zoo, tables, data, mixture):
    """Twice the weight is twice the contribution, bit for bit."""
    zoo = make_zoo(**mixture)
    force = data.draw(st.sampled_from(list(tables.forces.values())))
    weight = tables.taken(force, data.draw(weights))
    once, twice = (zoo.walk({"steps": 3, "forces": [{**force, "weight": w}]}) for w in (weight, 2 * weight))
    assert np.array_equal(2 * once.forces[:, 0], twice.forces[:, 0])


@many
@given(data=st.data(), mixture=mixtures)
def test_weight_zero_closed_windows_and_empty_components_change_no_bit(make_zoo, tables, data, mixture):
    zoo = make_zoo(**mixture)
    stacked = data.draw(tables.stacks)
    closed = {"kind": "window", "from": 2, "to": 3}
    extra = [
        {**data.draw(st.sampled_from(list(tables.forces.values()))), "weight": data.draw(st.sampled_from([0, closed]))},
        {"name": "none"},
    ]
    idle = [
        {"name": "none"},
        {"name": "default", "noise_scale": 0},
        {"name": "decay_only", "decay": 0},
        {"name": "time_scaled", "noise_scale": 0},
        {**data.draw(st.sampled_from(list(tables.drifts.values()))), "weight": data.draw(st.sampled_from([0, closed]))},
    ]
    kinds = [item["name"] for item in (*stacked["forces"], *stacked["drifts"])]
    named = dict.fromkeys(item["name"] for item in (extra[0], *idle))
    plain = zoo.walk(stacked)
    if not set(named) & set(kinds):  # else the streams of noise are numbered anew
        busy = {**stacked, "forces": [*extra, *stacked["forces"]], "drifts": [*idle, *stacked["drifts"]]}
    else:
        busy = {**stacked, "forces": [*stacked["forces"], *extra], "drifts": [*stacked["drifts"], *idle]}
    assert same_bits(plain, zoo.walk(busy))


A, B = {"target": "A"}, {"target": "B"}
TWINS = {
    "competitive is blend(1, 1)": (
        [{"name": "attract_class", **A}, {"name": "attract_class", **B}],
        [{"name": "blend_two", **A, "secondary": "B"}],
    ),
    "repelling is a class of negative weight": (
        [{"name": "repel_class", **A, "strength": 1.5}],
        [{"name": "weighted_multi", "weights": {"A": -1.5}}],
    ),
    "alpha shares the strength": (
        [{"name": "blend_two", **A, "secondary": "B", "alpha": 0.25, "strength": 2}],
        [{"name": "weighted_multi", "weights": {"A": 1.5, "B": 0.5}}],
    ),
    "subtraction is attraction and repulsion": (
        [{"name": "subtract_two", **A, "secondary": "B", "w_pos": 2, "w_neg": 0.5}],
        [{"name": "repel_class", **B, "strength": 0.5}, {"name": "attract_class", **A, "strength": 2}],
    ),
    "a table that never changes": (
        [{"name": "user_schedule", "schedule": [[0, {"A": 1, "B": -0.5}]]}],
        [{"name": "weighted_multi", "weights": [1, -0.5], "targets": ["A", "B"]}],
    ),
    "a linear ramp": (
        [{"name": "ramp_attract", **A, "strength": 2}],
        [{"name": "attract_class", **A, "weight": {"kind": "ramp", "end": 2}}],
    ),
    "a switch is two windows": (
        [{"name": "switch_two", **A, "secondary": "B", "boundary": 0.55}],
        [
            {"name": "attract_class", **A, "weight": {"kind": "window", "to": 0.54}},
            {"name": "attract_class", **B, "weight": {"kind": "window", "from": 0.55}},
        ],
    ),
    "a switch by timestep": (
        [{"name": "switch_two", **A, "secondary": "B", "boundary": 400}],
        [
            {"name": "attract_class", **A, "weight": {"kind": "window", "from": 999, "to": 401, "by": "timestep"}},
            {"name": "attract_class", **B, "weight": {"kind": "window", "from": 400, "to": 0, "by": "timestep"}},
        ],
    ),
    "an oscillation is two sines": (
        [{"name": "oscillate_two", **A, "secondary": "B", "amp": 0.7, "cycles": 1.5}],
        [
            {"name": "weighted_multi", "weights": {"A": {"kind": "sine", "amplitude": 0.7, "cycles": 1.5}}},
            {
                "name": "weighted_multi",
                "weights": {"B": {"kind": "sine", "amplitude": 0.7, "cycles": 1.5, "phase": 0.25}},
            },
        ],
    ),
    "one class a sample": (
        [{"name": "attract_class", "target": ["A", "A", "A", "A"]}],
        [{"name": "attract_class", **A}],
    ),
}


@pytest.mark.parametrize("pair", TWINS.values(), ids=TWINS)
def test_twins(make_zoo, pair):
    for seed in range(4):
        zoo = make_zoo(shape=(5,), classes="ABCD", components=2, spread=0.6, seed=seed)
        one, other = (zoo.walk({"steps": 7, "base": "uncond", "forces": forces}) for forces in pair)
        assert np.abs(one.prediction - one.base).max() > 0.05
        close(one, other, 1e-5)


@many
@given(mixture=mixtures, weight=weights.map(abs), target=st.sampled_from(["A", "own", ["A", "B", "C", "D"]]))
def test_a_class_minus_itself_is_nothing(make_zoo, mixture, weight, target):
    force = {"name": "subtract_two", "target": target, "secondary": target, "w_pos": weight, "w_neg": weight}
    walked = make_zoo(**mixture).walk({"steps": 3, "forces": [force]})
    assert np.abs(walked.forces).max() == 0


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_class_forces_mean_the_same_whatever_the_model_predicts(make_zoo, run, force, prediction):
    """Predictions of one state differ by a factor and a term of the state alone, which directions do not see."""
    one, other = (
        make_zoo(shape=(3, 2), classes="ABCD", spread=0.5, seed=3, prediction=kind).walk(run([force], steps=6))
        for kind in ("epsilon", prediction)
    )
    same = np.abs(one.x - other.x).max() < 1e-4 and np.abs(one.end - other.end).max() < 1e-4
    assert same == (force["name"] != "drift_noise")  # which is noise of the prediction, whatever that is


# ------------------------------------------------------------------ weights over a run


@given(steps=st.integers(2, 60), amp=weights, cycles=st.floats(0, 9), frequency=st.floats(0, 1))
def test_an_oscillation_keeps_its_amplitude(steps, amp, cycles, frequency):
    for said in ({"cycles": cycles}, {"frequency": frequency}):
        force = made("oscillate_two", target="A", secondary="B", amp=amp, **said)
        for i in range(steps):
            (_, a), (_, b) = force.weights(at(i, steps))
            assert math.hypot(a, b) == pytest.approx(abs(amp), abs=1e-9)
        (_, a), (_, b) = force.weights(at(0, steps))
        assert (a, b) == (0, amp)


@given(steps=st.integers(2, 60), strength=weights, power=st.floats(0.1, 5))
def test_a_ramp_goes_from_nothing_to_its_strength(steps, strength, power):
    force = made("ramp_attract", target="A", strength=strength, power=power)
    along = [force.weights(at(i, steps))[0][1] for i in range(steps)]
    assert along[0] == 0
    assert along[-1] == pytest.approx(strength)
    assert [abs(w) for w in along] == sorted(abs(w) for w in along)


@given(steps=st.integers(2, 60), boundary=st.floats(0, 1))
def test_a_switch_happens_once_at_its_boundary(steps, boundary):
    force = made("switch_two", target="A", secondary="B", boundary=boundary)
    along = [force.weights(at(i, steps))[0][0] for i in range(steps)]
    assert along == ["A" if i / (steps - 1) < boundary else "B" for i in range(steps)]
    assert along == sorted(along)


@given(
    names=st.lists(st.sampled_from("ABCD"), min_size=1, max_size=6), period=st.integers(1, 5), steps=st.integers(1, 60)
)
def test_a_cycle_comes_round_after_its_list(names, period, steps):
    force = made("cycle_classes", class_list=names, period=period)
    along = [force.weights(at(i, steps))[0][0] for i in range(steps)]
    whole = [name for name in names for _ in range(period)]
    assert along == (whole * (steps // len(whole) + 1))[:steps]


# ------------------------------------------------------------------ drifts


@many
@given(data=st.data(), mixture=mixtures)
def test_noisy_drifts_leave_the_image_alone(make_zoo, tables, data, mixture):
    zoo = make_zoo(**mixture)
    noisy = [d for d in tables.drifts.values() if "noise_scale" in d and "skip_last" not in d]
    drift = data.draw(st.sampled_from(noisy))
    for skip in (True, False):
        walked = zoo.walk({"steps": 5, "drifts": [{**drift, "skip_last": skip}]})
        touched = [float(frame.group("drifts")[0].abs().max()) > 0 for frame in walked.exact[:-1]]
        assert touched[-1] is not skip
        assert any(touched[:-1])


@pytest.mark.parametrize(("name", "late"), [("time_scaled", True), ("inverse_time_scaled", False)])
def test_late_and_early_noise(zoo, run, name, late):
    walked = zoo.walk(
        run(drifts=[{"name": name, "noise_scale": 0.5, "skip_last": False}], steps=20, total_videos=40), ids=range(40)
    )
    sizes = [float(frame.group("drifts")[0].std()) for frame in walked.exact[:-1]]
    shares = [i / 20 if late else 1 - i / 20 for i in range(20)]
    assert sizes == pytest.approx([0.5 * share for share in shares], rel=0.2)
