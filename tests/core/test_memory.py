"""What forces and drifts remember, and that a walk can stop with it after any step."""

from __future__ import annotations

import attrs
import pytest
import torch

from emnist_diff.conditions import NULL, OWN
from emnist_diff.engine.state import Batch, WalkState
from emnist_diff.engine.walk import walk
from emnist_diff.errors import RunFailed
from emnist_diff.frames import FIELDS
from emnist_diff_plugins.schedulers.ddpm import Ddpm
from emnist_diff_plugins.schedulers.edm import Edm


@attrs.frozen
class Momentum:
    """A force: the running mean of e_own − e_null."""

    decay: float = 0.8

    def conditions(self, at):
        return (OWN, NULL)

    def __call__(self, predictions, step):
        now = predictions.direction(OWN)
        velocity = now + self.decay * step.memory.get("velocity", torch.zeros_like(now))
        step.remember("velocity", velocity)
        step.remember("count", step.memory.get("count", torch.zeros(len(now))) + 1)
        return velocity


@attrs.frozen
class Inertia:
    """A drift: goes on a little as it went before."""

    share: float = 0.1

    def __call__(self, x, step):
        after = x + self.share * (x - step.memory["x"]) if step.memory else x.clone()
        step.remember("x", x)
        return after


BATCH = Batch((0, 1, 2), (5, 6, 7), (0, 1, 2), (7, 7, 7))


def places_of(engine, start=None):
    places: list[WalkState] = []
    *frames, end = walk(engine, BATCH, lambda at: frozenset(FIELDS), start=start, after_step=places.append)
    return places, frames, end


@pytest.mark.parametrize("scheduler", [Ddpm(), Edm()], ids=["ddpm", "edm, which evaluates twice"])
def test_a_walk_resumed_after_any_step_remembers(make_engine, scheduler):
    engine = make_engine(
        scheduler=scheduler, forces=[(Momentum(), 0.3), (Momentum(0.1), 0.2)], drifts=[Inertia(), Inertia(0.05)]
    )
    places, frames, end = places_of(engine)
    for place in places:
        written = {name: torch.from_numpy(value.numpy().copy()) for name, value in place.memory.items()}
        _, rest, again = places_of(engine, attrs.evolve(place, x=place.x.clone(), memory=written))
        assert torch.equal(again.x, end.x)
        for one, other in zip(rest, frames[place.index :], strict=True):
            assert all(torch.equal(one[field], tensor) for field, tensor in other.items())
    forgotten = attrs.evolve(places[2], memory={})
    assert not torch.equal(places_of(engine, forgotten)[2].x, end.x)


def test_momentum_is_the_sum_that_it_says(make_engine, walk_all):
    frames = walk_all(make_engine(forces=[(Momentum(), 1.0)])).frames
    alone = [frame.group("forces")[0] for frame in walk_all(make_engine(forces=[(Momentum(0.0), 1.0)])).frames]
    assert torch.equal(frames[0].group("forces")[0], alone[0])  # the same start, and nothing remembered
    assert not torch.equal(frames[1].group("forces")[0], alone[1])


def test_each_has_a_memory_of_its_own(make_engine):
    places, _, _ = places_of(make_engine(forces=[(Momentum(), 0.3), (Momentum(), 0.0)], drifts=[Inertia()]))
    assert set(places[0].memory) == {"force.Momentum/velocity", "force.Momentum/count", "drift.Inertia/x"}
    assert [place.memory["force.Momentum/count"].tolist() for place in places] == [[n] * 3 for n in range(1, 7)]


def test_what_second_looks_remember_is_dropped(make_engine):
    """EDM evaluates twice a step: the force is asked about twice as often as it may count."""
    places, _, _ = places_of(make_engine(scheduler=Edm(), forces=[(Momentum(), 0.3)]))
    assert [place.memory["force.Momentum/count"].tolist() for place in places] == [[n] * 3 for n in range(1, 7)]


def test_one_that_leaves_nothing_remembers_nothing(make_engine):
    """A force of weight zero is not asked, and so leaves nothing."""

    engine = make_engine(forces=[(Momentum(), 1.0)])
    term = attrs.evolve(engine.forces[0], weight=lambda at: 0.0 if at.index == 2 else 1.0)
    places, _, _ = places_of(attrs.evolve(engine, forces=[term]))
    counts = [place.memory.get("force.Momentum/count", torch.zeros(3)).tolist() for place in places]
    assert counts == [[1] * 3, [2] * 3, [0] * 3, [1] * 3, [2] * 3, [3] * 3]


@pytest.mark.parametrize("odd", [torch.zeros(()), torch.zeros(4), 3.0], ids=["a number", "too long", "no tensor"])
def test_memory_has_one_entry_a_sample(make_engine, odd):
    class Odd:
        def __call__(self, x, step):
            step.remember("odd", odd)
            return x

    with pytest.raises(RunFailed, match=r"drift\.Odd remembered 'odd' as .*each of the 3 samples"):
        places_of(make_engine(drifts=[Odd()]))
