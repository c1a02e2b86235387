"""What every scheduler keeps, in the engine and out of it."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.conditions import NULL, named
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import Evaluations, Labels, make_plan
from emnist_diff.engine.state import Batch, WalkState
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError
from emnist_diff.frames import FIELDS, STATES
from emnist_diff.timeline import FlowSchedule, NoiseSchedule
from emnist_diff_plugins.curves import Window
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.drifts.default import DefaultDrift
from emnist_diff_plugins.forces.attract_class import AttractClass
from emnist_diff_plugins.forces.drift_noise import DriftNoise

STEPS = 6


@pytest.fixture
def engine_of(make_engine):
    """An engine with a scheduler of `Case`, on a diffusion or a flow as it needs."""

    def make(case, **more):
        mixture = GaussianMixture(shape=(3,), classes="ABC", prediction="flow" if case.is_flow else "epsilon")
        return make_engine(mixture, scheduler=case(), steps=STEPS, **more)

    return make


def test_all_built_in_schedulers_are_here(built_in):
    """The cases are made from what is registered; a new scheduler joins by itself."""
    assert built_in().bind(FlowSchedule() if built_in.is_flow else NoiseSchedule(), "sample")


# ------------------------------------------------------------------ samples


def test_neighbours_and_order_change_no_bit(engine_of, walk_all, built_in):
    engine = engine_of(built_in, forces=[(AttractClass(target="B"), 0.5)], drifts=[DefaultDrift(noise_scale=0.05)])
    together = walk_all(engine, (0, 1, 2, 3, 4), label=(0, 1, 2, 0, 1))
    for ids, labels in (((2,), (2,)), ((4, 9, 2), (1, 0, 2)), ((3, 2, 1, 0), (0, 2, 1, 0))):
        other = walk_all(engine, ids, label=labels)
        for row, i in enumerate(ids):
            if i < 5:
                assert torch.equal(other.x[row], together.x[i])
                for field in together.frames[0]:
                    assert np.array_equal(other.stacked(field)[:, row], together.stacked(field)[:, i])


def test_a_walk_resumed_after_any_step_is_the_walk(engine_of, built_in):
    engine = engine_of(built_in, forces=[(AttractClass(target="B"), 0.5)], drifts=[DefaultDrift(noise_scale=0.05)])
    batch = Batch((0, 1, 2), (5, 6, 7), (0, 1, 2), (7, 7, 7))
    places: list[WalkState] = []
    *frames, end = walk(engine, batch, lambda at: frozenset(FIELDS), after_step=places.append)
    assert [place.index for place in places] == list(range(1, STEPS + 1))
    for place in places:
        written = attrs.evolve(
            place, x=place.x.clone(), memory={name: torch.from_numpy(t.numpy()) for name, t in place.memory.items()}
        )
        *rest, again = walk(engine, batch, lambda at: frozenset(FIELDS), start=written)
        assert torch.equal(again.x, end.x)
        assert len(rest) == STEPS - place.index
        for one, other in zip(rest, frames[place.index :], strict=True):
            assert all(torch.equal(one[field], other[field]) for field in STATES)


def test_what_is_remembered_has_one_row_a_sample(engine_of, built_in):
    places: list[WalkState] = []
    batch = Batch((0, 1, 2), (5, 6, 7), (0, 1, 2), (7, 7, 7))
    list(walk(engine_of(built_in), batch, lambda at: frozenset(), after_step=places.append))
    for place in places:
        assert all(t.shape == (3, 3) and t.dtype == torch.float32 for t in place.memory.values())


# ------------------------------------------------------------------ noise and looks


@pytest.fixture(scope="module")
def worlds(make_world):
    return {kind: make_world(prediction=kind) for kind in ("epsilon", "v_prediction", "sample", "flow")}


def test_noise_is_asked_for_only_when_it_is_used(worlds, drawn, built_in):
    asked = []

    def noise(index, stream=""):
        asked.append((index, stream))
        return drawn(5, 2, seed=index)

    world = worlds["flow" if built_in.is_flow else "epsilon"]
    world.walk(built_in(), STEPS, drawn(5, 2, seed=50), noise)
    assert bool(asked) == built_in.noisy
    assert all(index < STEPS - 1 for index, _ in asked)  # the last step ends at the image


def test_the_timeline_says_how_often_the_network_is_asked(worlds, drawn, built_in):
    world = worlds["flow" if built_in.is_flow else "epsilon"]
    path = world.walk(built_in(), STEPS, drawn(5, 2), lambda index, stream="": drawn(5, 2, seed=index))
    assert path.asked == path.timeline.evaluations.sum()


def test_what_the_network_predicts_does_not_matter(worlds, drawn, of_diffusions):
    ends = [
        worlds[kind].walk(of_diffusions(), 12, drawn(5, 2), lambda index, stream="": drawn(5, 2, seed=index))
        for kind in ("epsilon", "v_prediction", "sample")
    ]
    for other in ends[1:]:
        for a, b in zip(ends[0].states, other.states, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


# ------------------------------------------------------------------ forces and drifts beside several evaluations


class Recorder:
    """A force that pulls to B, and writes down where it was asked and what noise it was given."""

    def __init__(self):
        self.seen = []

    def conditions(self, at):
        return (named("B"), NULL)

    def __call__(self, predictions, step):
        self.seen.append((step.at.index, step.at.frac, step.at.timestep, step.noise().clone(), step.x.clone()))
        return 0.1 * predictions[NULL]


def test_forces_act_at_every_look_with_noise_of_its_own(engine_of, walk_all, built_in):
    force = Recorder()
    engine = engine_of(built_in, forces=[(force, 1.0)])
    walk_all(engine)
    looks = [at for i in range(STEPS) for at in engine.timeline.stages(i)]
    assert [(i, frac, t) for i, frac, t, *_ in force.seen] == [(at.index, at.frac, at.timestep) for at in looks]
    draws = [noise for *_, noise, _ in force.seen]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])


def test_a_window_is_honoured_at_the_inner_look(engine_of, built_in):
    """A force that ends in the middle of a step is asked at its first look and not at its second."""
    force = Recorder()
    engine = engine_of(built_in, forces=[(force, 1.0)])
    window = Window(0.0, 0.5)
    engine = attrs.evolve(engine, forces=[attrs.evolve(engine.forces[0], weight=window)])
    list(walk(engine, Batch((0,), (0,), (0,), (1,)), lambda at: frozenset()))
    inside = [at for i in range(STEPS) for at in engine.timeline.stages(i) if window(at) != 0]
    assert [(i, frac) for i, frac, *_ in force.seen] == [(at.index, at.frac) for at in inside]
    assert all(at.frac <= 0.5 for at in inside)
    cut = [at for at in inside if at.index == inside[-1].index]
    if len(engine.timeline.stages(2)) == 2:
        assert inside[-1].index == 2
        assert len(cut) == (2 if engine.timeline.stages(2)[1].frac <= 0.5 else 1)


def test_the_plan_counts_the_rows_of_every_look(engine_of, built_in):
    rows = []

    class Counting:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

        def predict(self, x, t, conds):
            rows.append(len(x))
            return self.inner.predict(x, t, conds)

    engine = engine_of(built_in, base=Base("cfg", 2.0), forces=[(AttractClass(target="B"), 1.0)], micro_batch=1)
    engine = attrs.evolve(
        engine,
        denoisers={"": Counting(engine.denoisers[""])},
        forces=[attrs.evolve(engine.forces[0], weight=Window(0.0, 0.5))],
    )
    labels = (0, 1, 2, 0)
    spaces = {"": engine.denoisers[""].conditions}
    plan = make_plan(
        Evaluations.of(engine.timeline, engine.base, engine.forces),
        spaces,
        Labels(tuple(labels), range(len(labels))),
        4,
        1,
    )
    list(walk(engine, Batch((0, 1, 2, 3), (0, 1, 2, 3), labels, (1,) * 4), lambda at: frozenset()))
    assert sum(rows) == plan.rows


def test_the_ledger_is_exact(engine_of, walk_all, built_in):
    engine = engine_of(
        built_in,
        base=Base("cfg", 2.0),
        forces=[(AttractClass(target="B"), 0.7), (DriftNoise(sigma=0.1), 1.0)],
        drifts=[DefaultDrift(noise_scale=0.1, decay=0.02)],
    )
    walked = walk_all(engine)
    assert len(walked.frames) == STEPS
    for frame in walked.frames:
        assert torch.equal(frame["base"] + frame.group("forces")[0] + frame.group("forces")[1], frame["prediction"])
        assert frame.group("forces")[0].abs().max() > 0
    for before, after in zip(walked.frames, walked.frames[1:], strict=False):
        moved = after["x"] - before.group("drifts")[0]
        assert not torch.equal(moved, before["x"])


def test_drifts_are_not_undone_by_what_is_remembered(make_engine, walk_all, built_in):
    """A push between two steps stays, also where a scheduler corrects its state of the step before."""

    @attrs.frozen
    class Push:
        by: float

        def __call__(self, x, step):
            return x + self.by if step.at.index == 3 else x

    mixture = GaussianMixture(
        shape=(3,), classes="ABC", prediction="flow" if built_in.is_flow else "epsilon", spread=0.7
    )
    plain, pushed = (
        walk_all(make_engine(mixture, scheduler=built_in(), steps=8, drifts=[Push(by)])).stacked("x").mean((1, 2))
        for by in (0.0, 0.3)
    )
    moved = pushed - plain
    assert np.abs(moved[:4]).max() == 0.0
    assert abs(moved[4] - 0.3) < 1e-5
    # the image that is moved to is drawn back a little, by fresh noise and by extrapolated slopes more so
    assert moved[5] > (0.1 if built_in.noisy or "lms" in built_in.label else 0.2)


# ------------------------------------------------------------------ what cannot be walked


def test_a_scheduler_of_diffusions_sends_flows_to_its_counterpart(of_diffusions):
    counterpart = of_diffusions.factory.flow_counterpart
    name = of_diffusions.label.partition(",")[0]
    with pytest.raises(ConfigError, match=rf"'{name}' walks diffusions, and this model is a flow — use {counterpart}$"):
        of_diffusions().bind(FlowSchedule(), "flow")
    with pytest.raises(ConfigError, match="predicts the velocity of a flow"):
        of_diffusions().bind(NoiseSchedule(), "flow")


def test_a_scheduler_of_flows_sends_diffusions_to_its_counterpart(of_flows):
    counterpart = of_flows.factory.diffusion_counterpart
    name = of_flows.label.partition(",")[0]
    with pytest.raises(ConfigError, match=rf"'{name}' walks flows, and this model is a diffusion — use {counterpart}$"):
        of_flows().bind(NoiseSchedule(), "epsilon")
    for kind in ("epsilon", "v_prediction"):
        with pytest.raises(ConfigError, match="use a model that predicts flow or sample"):
            of_flows().bind(FlowSchedule(), kind)


def test_counterparts_exist(built_in):
    from emnist_diff.discovery import installed
    from emnist_diff.records import SchedulerSpec

    name = built_in.factory.diffusion_counterpart if built_in.is_flow else built_in.factory.flow_counterpart
    spec = installed().resolve(SchedulerSpec, name).spec
    assert (spec.process == "flow") != built_in.is_flow
