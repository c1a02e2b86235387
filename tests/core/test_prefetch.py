"""Noise drawn ahead is the noise that would have been drawn, and guesses are only about time."""

from __future__ import annotations

import threading

import attrs
import pytest
import torch

from emnist_diff.engine.noise import INITIAL, batch_normal
from emnist_diff_plugins.drifts.default import DefaultDrift
from emnist_diff_plugins.overlap import prefetch
from emnist_diff_plugins.overlap.prefetch import LEAST, NoiseAhead
from emnist_diff_plugins.overlap.threads import Threads
from emnist_diff_plugins.schedulers.ddpm import Ddpm

SHAPE = (1, 32, 32)
IDS = tuple(range(20))
SEEDS = (7,) * len(IDS)
assert len(IDS) * 32 * 32 > LEAST


@pytest.fixture
def ahead():
    before = threading.active_count()
    made = NoiseAhead(4)
    yield made
    made.close()
    assert threading.active_count() == before


@pytest.fixture
def drawn(monkeypatch):
    """The (step, stream) of every draw that was begun."""
    begun = []
    draw = NoiseAhead._draw

    def noted(self, seeds, ids, step, stream, shape):
        begun.append((step, stream))
        return draw(self, seeds, ids, step, stream, shape)

    monkeypatch.setattr(NoiseAhead, "_draw", noted)
    return begun


def test_draws_are_those_of_the_definition(ahead):
    ahead.start(SEEDS, IDS, "init", SHAPE)
    other = tuple(range(100, 120))
    for ids in (IDS, other, IDS):
        for step, stream in ((INITIAL, "init"), (0, "a"), (0, "b"), (1, "a"), (1, "a"), (3, "a"), (2, "b"), (3, "b")):
            assert torch.equal(ahead(SEEDS, ids, step, stream, SHAPE), batch_normal(SEEDS, ids, step, stream, SHAPE))


def test_large_draws_are_shared_out_and_the_same(monkeypatch):
    monkeypatch.setattr(prefetch, "_SHARE", 3000)
    ahead = NoiseAhead(4, threads=3)
    try:
        assert torch.equal(ahead(SEEDS, IDS, 0, "a", SHAPE), batch_normal(SEEDS, IDS, 0, "a", SHAPE))
        assert torch.equal(ahead(SEEDS, IDS, 1, "a", SHAPE), batch_normal(SEEDS, IDS, 1, "a", SHAPE))
    finally:
        ahead.close()


def test_what_was_drawn_is_drawn_for_the_next_step_and_not_beyond_the_last(ahead, drawn):
    for step in range(4):
        ahead(SEEDS, IDS, step, "a", SHAPE)
    assert drawn == [(0, "a"), (1, "a"), (2, "a"), (3, "a")]


def test_two_who_ask_for_the_same_get_tensors_of_their_own(ahead):
    ahead(SEEDS, IDS, 0, "a", SHAPE)
    first, second = (ahead(SEEDS, IDS, 1, "a", SHAPE) for _ in range(2))
    first.zero_()
    assert torch.equal(second, batch_normal(SEEDS, IDS, 1, "a", SHAPE))


def test_guesses_for_one_batch_are_not_given_to_another(ahead, drawn):
    ahead(SEEDS, IDS, 0, "a", SHAPE)
    other = tuple(range(5, 25))
    assert torch.equal(ahead(SEEDS, other, 1, "a", SHAPE), batch_normal(SEEDS, other, 1, "a", SHAPE))


def test_a_start_is_drawn_before_it_is_asked_for(ahead, drawn):
    ahead.start(SEEDS, IDS, "init", SHAPE)
    assert drawn == [(INITIAL, "init")]
    ahead(SEEDS, IDS, INITIAL, "init", SHAPE)
    assert drawn == [(INITIAL, "init")]


def test_small_draws_are_made_at_once(ahead, drawn):
    assert torch.equal(ahead((7,), (3,), 0, "a", (4,)), batch_normal((7,), (3,), 0, "a", (4,)))
    ahead.start((7,), (3,), "init", (4,))
    assert drawn == []


def test_a_walk_is_the_same_to_the_bit(make_engine, walk_all, monkeypatch):
    monkeypatch.setattr(prefetch, "LEAST", 0)
    engine = make_engine(scheduler=Ddpm(), drifts=[DefaultDrift(noise_scale=0.1)])
    ahead = NoiseAhead(len(engine.timeline))
    try:
        one, other = walk_all(engine), walk_all(attrs.evolve(engine, normal=ahead))
    finally:
        ahead.close()
    assert torch.equal(one.x, other.x)


def test_there_is_none_without_a_processor_for_it(make_engine):
    assert Threads().noise(make_engine(), cpus=1) is None
    ahead = Threads().noise(make_engine(steps=6), cpus=2)
    assert (ahead.steps, ahead.threads, ahead.pinned) == (6, 1, False)
    ahead.close()
