"""Samples do not see their neighbours, and no row is evaluated that nobody reads."""

from __future__ import annotations

import pytest

from emnist_diff.frames import Frame
from emnist_diff_plugins.forecast import calls_of

ALL = (0, 1, 2, 3)


def assert_members(zoo, run):
    """A batch is its members, each walked alone or with others, bit for bit."""
    labels = (0, 2, 1, 3)
    whole = zoo.walk(run, ids=ALL, labels=labels)
    for ids in ((0,), (1,), (3,), (2, 0), (3, 2, 1)):
        part = zoo.walk(run, ids=ids, labels=[labels[i] for i in ids])
        assert part.layout.plan.micro_batch == whole.layout.plan.micro_batch
        for mine, theirs in zip(part.exact, whole.exact, strict=True):
            if isinstance(mine, Frame):
                assert mine.keys() == theirs.keys() > {"x", "x0", "prediction", "base"}
                pairs = [(mine[name], theirs[name]) for name in mine]
            else:
                pairs = [(getattr(mine, name), getattr(theirs, name)) for name in ("x", "images")]
            for one, other in pairs:
                assert one.numpy().tobytes() == other[list(ids)].numpy().tobytes()


def test_forces(zoo, run, force):
    assert_members(zoo, run([force], steps=4))


def test_drifts(zoo, run, drift):
    assert_members(zoo, run(drifts=[drift], steps=4, scheduler="ddpm"))


def test_bounds(zoo, run, tables):
    bounds = {"clip_abs": 0.3, "clip_norm": 0.4}
    stack = [{**tables.forces["attract_class"], **bounds}, tables.forces["drift_noise"]]
    assert_members(zoo, run(stack, steps=4, **bounds))


def test_functions_of_ones_own(zoo, run, custom):
    force = {"name": "user_custom", "function": custom("swirl"), "reads": ["B"]}
    assert_members(zoo, run([force], [{"name": "user_custom", "function": custom("shake")}], steps=4))


# ------------------------------------------------------------------ rows


def stack_of(count: int) -> list[dict[str, object]]:
    """`count` forces over two classes, of every kind."""
    kinds = [
        {"name": "attract_class", "target": "B"},
        {"name": "repel_class", "target": "C"},
        {"name": "blend_two", "target": "B", "secondary": "C"},
        {"name": "subtract_two", "target": "C", "secondary": "B"},
        {"name": "weighted_multi", "weights": {"B": 1, "C": 2}},
        {"name": "oscillate_two", "target": "B", "secondary": "C", "cycles": 0.7},
        {"name": "user_schedule", "schedule": [[0, {"B": 1, "C": 1}]]},
        {"name": "user_custom", "function": None, "reads": ["B", "C"]},
        {"name": "drift_noise", "sigma": 0.1},
        {"name": "attract_class", "target": "C", "strength": 0.5},
    ]
    return kinds[:count]


@pytest.mark.parametrize(("base", "own"), [("uncond", 0), ("cfg", 1)])
@pytest.mark.parametrize(("count", "classes"), [(0, 0), (1, 1), (2, 2), (5, 2), (10, 2)])
def test_forces_over_u_classes_cost_u_plus_1_conditions(zoo, run, custom, count, classes, base, own):
    stack = [{**f, **({"function": custom("swirl")} if f["name"] == "user_custom" else {})} for f in stack_of(count)]
    steps, samples = 5, 3
    walked = zoo.walk(run(stack, base=base, steps=steps, total_videos=samples), ids=range(samples))
    plan, micro = walked.layout.plan, walked.layout.plan.micro_batch
    assert {len(conds) for conds in plan.evaluations.conditions} == {classes + 1 + own}
    assert plan.rows == steps * samples * (classes + 1 + own)
    assert walked.rows == sum(calls_of(plan, network) for network in plan.networks) * micro
    assert walked.rows - plan.rows < micro * steps  # no more than the padding of the last call of a step


def test_what_a_step_does_not_read_is_not_evaluated(zoo, run):
    window = {"kind": "window", "from": 0.5, "to": 1}
    cases = [
        ([{"name": "attract_class", "target": "B", "weight": window}], {0: 1, 4: 2}),
        ([{"name": "attract_class", "target": "B", "strength": window}], {0: 1, 4: 2}),
        ([{"name": "attract_class", "target": "B", "weight": 0}], {0: 1, 4: 1}),
        ([{"name": "blend_two", "target": "B", "secondary": "C", "w_a": 0, "w_b": window}], {0: 1, 4: 2}),
        ([{"name": "blend_two", "target": "B", "secondary": "C", "alpha": {"kind": "ramp"}}], {0: 2, 1: 3, 4: 2}),
        ([{"name": "switch_two", "target": "B", "secondary": "C"}], {0: 2, 4: 2}),
        ([{"name": "cycle_classes"}], {0: 2, 4: 2}),
        ([{"name": "oscillate_two", "target": "B", "secondary": "C"}], {0: 2, 1: 3}),
        ([{"name": "ramp_attract", "target": "B"}], {0: 1, 1: 2}),
        ([{"name": "weighted_multi", "weights": {"B": 0, "C": window, "D": 1}}], {0: 2, 4: 3}),
        ([{"name": "user_schedule", "schedule": [[0, {"B": 1}], [0.5, {}], [1, {"C": 1}]]}], {0: 2, 2: 1, 4: 2}),
        ([{"name": "drift_noise", "sigma": 1}, {"name": "none"}], {0: 1, 4: 1}),
        ([{"name": "user_custom", "function": "operator:sub", "reads": ["B"], "weight": window}], {0: 1, 4: 2}),
        ([{"name": "user_custom", "function": "operator:sub", "reads": []}], {0: 1, 4: 1}),
    ]
    for forces, expected in cases:
        laid = zoo.layout(run(forces, base="uncond", steps=5))
        assert {i: len(laid.plan.evaluations.conditions[i]) for i in expected} == expected, forces


def test_a_function_that_reads_nothing_costs_nothing(zoo, run):
    force = {"name": "user_custom", "function": "operator:sub"}
    for reads, conditions in (([], 1), (["null"], 2), (["B"], 3), (["B", "own"], 3)):
        laid = zoo.layout(run([{**force, "reads": reads}], base="cond", steps=2))
        assert {len(conds) for conds in laid.plan.evaluations.conditions} == {conditions}


def test_samples_of_the_class_that_a_force_is_about_cost_no_row_more(zoo, run):
    walked = zoo.layout(run([{"name": "attract_class", "target": "B"}], steps=2, character="A,B", total_videos=4))
    assert walked.plan.rows == 2 * (2 * 3 + 2 * 2)  # null, own and B for A; null and B for B


def test_a_class_a_sample(zoo, run):
    laid = zoo.layout(run([{"name": "attract_class", "target": ["B", "own", "null", "D"]}], steps=1, total_videos=4))
    assert laid.plan.rows == 3 + 2 + 2 + 3
