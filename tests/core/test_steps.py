"""Steps are frozen, one for each role, and the walk is a fold over a step that depends on its arguments alone."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch

from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.plan import WeightedDrift, WeightedForce
from emnist_diff.engine.state import Batch, WalkState
from emnist_diff.engine.walk import step, walk
from emnist_diff.errors import RunFailed
from emnist_diff.frames import FIELDS, BatchResult
from emnist_diff.protocols import Differentiates, Evaluates, offers
from emnist_diff.steps import DriftStep, ForceStep, SchedulerResult, SchedulerStep
from emnist_diff_plugins.capabilities import Idles
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.drifts.default import DefaultDrift
from emnist_diff_plugins.forces.attract_class import AttractClass
from emnist_diff_plugins.schedulers.heun import Heun

BATCH = Batch((0, 1, 2), (0, 1, 2), (0, 1, 2), (7, 7, 7))


@attrs.define
class Keeping:
    """A force, a drift and a scheduler that do nothing but keep the steps that they are handed."""

    kept: list[Any] = attrs.field(factory=list)
    scheduler: Any = None

    def conditions(self, at):
        return ()

    def __call__(self, given, step):
        self.kept.append(step)
        return torch.zeros_like(step.x) if isinstance(step, ForceStep) and not isinstance(step, DriftStep) else given

    def plan(self, steps):
        return self.scheduler.plan(steps)

    def step(self, prediction, step):
        self.kept.append(step)
        return self.scheduler.step(prediction, step)


def test_each_role_is_handed_a_frozen_step_of_its_own(make_engine):
    keeping = Keeping()
    engine = make_engine(forces=[(keeping, 1.0)], drifts=[keeping], steps=2)
    keeping.scheduler = engine.scheduler
    list(walk(attrs.evolve(engine, scheduler=keeping), BATCH, lambda at: frozenset()))
    assert [type(step) for step in keeping.kept] == [ForceStep, SchedulerStep, DriftStep] * 2
    for seen in keeping.kept:
        for field in attrs.fields(type(seen)):
            assert getattr(seen, field.name) is not None
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(seen, field.name, None)
    force, scheduler, drift = keeping.kept[:3]
    assert not hasattr(force, "evaluate")
    assert not hasattr(scheduler, "remember")
    assert torch.equal(force.sum, drift.sum)


def test_a_walk_folds_steps_and_a_step_can_be_made_again(make_engine):
    engine = make_engine(
        denoiser=GaussianMixture(shape=(3,), classes="ABC").denoiser(), scheduler=Heun(), steps=4,
        forces=[(AttractClass(target="B"), 0.7)], drifts=[DefaultDrift(decay=0.1)],
    )  # fmt: skip
    *frames, result = walk(engine, BATCH, lambda at: frozenset(FIELDS))
    assert isinstance(result, BatchResult)
    run = BatchEngine.of(engine, BATCH)
    state = run.begin()
    for frame in frames:
        with torch.inference_mode():
            before = {name: value.clone() for name, value in state.memory.items()} | {"x": state.x.clone()}
            fresh = step(BatchEngine.of(engine, BATCH), state, frozenset(FIELDS))
            state_next, again = step(run, state, frozenset(FIELDS))
        assert all(torch.equal(value, {"x": state.x, **state.memory}[name]) for name, value in before.items())
        for other in (fresh[1], again):
            assert list(other) == list(frame)
            assert all(torch.equal(other[name], frame[name]) for name in frame)
        state = state_next
    assert torch.equal(state.x, result.x)


@pytest.mark.parametrize(("asked", "times"), [(0, 1), (1, 2), (-1, 2)])
def test_a_scheduler_evaluates_at_levels_that_its_timeline_names(make_engine, asked, times):
    @attrs.define
    class Asking(Keeping):
        def step(self, prediction, step):
            for _ in range(times):
                step.evaluate(step.x, asked)
            return SchedulerResult(step.x, step.x)

    engine = make_engine(scheduler=Heun(), steps=3)
    asking = Asking(scheduler=engine.scheduler)
    states = walk(attrs.evolve(engine, scheduler=asking), BATCH, lambda at: frozenset())
    if asked == 0:
        next(states)
        return
    with pytest.raises(RunFailed, match=rf"evaluated inner level {asked}, and its timeline names 1 \(step 0\)"):
        next(states)


def test_capabilities_are_asked_once_when_a_component_is_made(make_engine):
    class Counting:
        """Hands on to another, and counts how often it is asked for the gradient."""

        asked = 0

        def __getattr__(self, name):
            if name != "gradient":
                raise AttributeError(name)
            type(self).asked += 1
            return True

        def conditions(self, at):
            return ()

        def __call__(self, predictions, step):
            assert step.x.requires_grad
            return torch.zeros_like(step.x)

    force = WeightedForce("counting", Counting(), lambda at: 1.0)
    assert force.differentiates
    asked = Counting.asked
    list(walk(attrs.evolve(make_engine(steps=3), forces=[force]), BATCH, lambda at: frozenset()))
    assert Counting.asked == asked
    assert offers(Counting(), Differentiates)
    assert not offers(Counting(), Idles)
    assert WeightedDrift("plain", DefaultDrift()).evaluates is None
    assert not offers(DefaultDrift(), Evaluates)


def test_a_walk_state_says_all_that_the_rest_depends_on(make_engine):
    engine = make_engine(steps=3)
    states: list[WalkState] = []
    *_, result = walk(engine, BATCH, lambda at: frozenset(), after_step=states.append)
    *_, rest = walk(engine, BATCH, lambda at: frozenset(), start=states[0])
    assert torch.equal(rest.x, result.x)
