"""Drifts that ask the network."""

from __future__ import annotations

import attrs
import pytest
import torch

from emnist_diff.conditions import RowConditions
from emnist_diff.discovery import installed
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import Evaluations, Labels, make_plan
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError, RunFailed
from emnist_diff.frames import FIELDS
from emnist_diff.records import SchedulerSpec
from emnist_diff.timeline import FlowSchedule, NoiseSchedule
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.forces.attract_class import AttractClass
from emnist_diff_plugins.schedulers.heun import Heun

ABC = GaussianMixture(shape=(3,), classes="ABC")


@attrs.frozen
class Looking:
    """x + 0.01 · (sum of predictions), each at where the one before led."""

    declared: int = 2
    used: int = 2

    def evaluations(self, at):
        return self.declared

    def __call__(self, x, step):
        if step.at.alpha_bar_next == 1:
            return x
        for _ in range(self.used):
            x = x + 0.01 * step.evaluate(x)
        return x


def test_what_is_seen_is_base_and_forces_where_the_step_ends(make_engine, walk_all):
    denoiser = ABC.denoiser()
    settings = {"denoiser": denoiser, "base": Base("cond"), "forces": [(AttractClass(target="B", strength=0.3), 0.5)]}
    engine = make_engine(**settings, drifts=[Looking()])
    before = walk_all(make_engine(**settings))
    frames = walk_all(engine).frames
    assert torch.equal(frames[0]["prediction"], before.frames[0]["prediction"])  # what drifts see is not in the ledger
    x = before.frames[1]["x"]  # where the first step ends without the drift
    t = torch.full((4,), float(engine.timeline.timestep[1]))
    with torch.inference_mode():
        for _ in range(2):
            own, b, null = (denoiser.predict(x, t, RowConditions(torch.full((4,), i))) for i in (0, 1, 3))
            x = x + 0.01 * (own + 0.5 * 0.3 * (b - null))
    torch.testing.assert_close(frames[1]["x"], x, rtol=1e-6, atol=1e-6)
    assert frames[-1].group("drifts")[0].abs().max() == 0


class Counting:
    """A denoiser that counts its rows."""

    def __init__(self, denoiser):
        self.denoiser, self.rows, self.times = denoiser, 0, []

    def __getattr__(self, name):
        return getattr(self.denoiser, name)

    def predict(self, x, t, conds):
        self.rows += len(x)
        self.times.append(float(t[0]))
        return self.denoiser.predict(x, t, conds)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_looks_are_planned(make_engine, walk_all, weight):
    denoiser = Counting(ABC.denoiser())
    engine = make_engine(
        denoiser=denoiser, scheduler=Heun(), forces=[(AttractClass(target="B"), 1.0)], drifts=[Looking()], micro_batch=1
    )
    engine = attrs.evolve(engine, drifts=[attrs.evolve(engine.drifts[0], weight=lambda at: weight)])
    spaces = {"": denoiser.conditions}
    evaluations = Evaluations.of(engine.timeline, engine.base, engine.forces, engine.drifts)
    plan = make_plan(evaluations, spaces, Labels((0,), range(4)), 4, 1)
    walk_all(engine)
    assert plan.rows == denoiser.rows
    looks = [float(t) for t in engine.timeline.timestep[1:] for _ in range(2 if weight else 0)]
    heun = [at.timestep for i in range(6) for at in engine.timeline.stages(i)]
    assert sorted(denoiser.times[::12]) == sorted(heun + looks)


def test_looking_more_often_than_declared_is_an_error(make_engine, walk_all):
    with pytest.raises(RunFailed, match=r"drift 'Looking' evaluates the network more than the 1 times .*\(step 0\)"):
        walk_all(make_engine(drifts=[Looking(1, 2)]))
    walk_all(make_engine(drifts=[Looking(2, 1)]))


def test_looking_without_saying_so_is_an_error(make_engine, walk_all):
    class Peeking:
        def __call__(self, x, step):
            return step.evaluate(x)

    with pytest.raises(
        RunFailed, match=r"drift 'Peeking' evaluates the network more than the 0 times .*evaluations\(at\)"
    ):
        walk_all(make_engine(drifts=[Peeking()]))


@pytest.mark.parametrize("said", [-1, 1.0, None, True])
def test_looks_is_a_count(make_engine, walk_all, said):
    with pytest.raises(RunFailed, match=r"drift 'Looking': evaluations\(\) returned .*, no count"):
        walk_all(make_engine(drifts=[Looking(said)]))


def test_a_walk_resumed_looks_again(make_engine):
    batch = Batch((0, 1), (0, 1), (0, 1), (7, 7))
    engine = make_engine(drifts=[Looking()])
    places = []
    *_, end = walk(engine, batch, lambda at: frozenset(FIELDS), after_step=places.append)
    for place in places:
        *_, again = walk(engine, batch, lambda at: frozenset(), start=place)
        assert torch.equal(again.x, end.x)


def test_a_step_ends_where_the_next_one_starts():
    """So that a drift may look there by the timestep of the next step, whatever the scheduler."""
    registry = installed()
    seen = 0
    for entry in registry.of(SchedulerSpec):
        for process, kind in ((NoiseSchedule(), "v_prediction"), (FlowSchedule(), "flow")):
            try:
                timeline = registry.load(SchedulerSpec, entry.qualified)().bind(process, kind).plan(7)
            except ConfigError:  # it walks the other process
                continue
            seen += 1
            assert timeline.end(6) is None
            for i in range(6):
                end, following = timeline.end(i), timeline.at(i + 1)
                for name in ("timestep", "alpha_bar", "frac"):
                    assert getattr(end, name) == getattr(following, name)
                assert end.alpha_bar == pytest.approx(timeline.at(i).alpha_bar_next, rel=1e-12)
    assert seen >= 16
