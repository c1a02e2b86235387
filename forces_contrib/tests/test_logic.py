"""Logical composition against the analytic model, whose densities are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from emnist_diff.conditions import NULL, RowConditions, named, row_of
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedForce
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff.frames import FIELDS
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.ddpm import Ddpm
from emnist_diff_plugins.schedulers.heun import Heun

from emnist_diff_forces_contrib.logical_and import And
from emnist_diff_forces_contrib.logical_not import Not
from emnist_diff_forces_contrib.logical_or import Or

MEANS, SPREAD = np.array([[1.0, 0.2], [-0.6, 0.5], [0.1, -0.9]]), 0.4
ABC = GaussianMixture(
    shape=(2,), classes="ABC", components=1, spread=SPREAD, means=tuple((tuple(mean),) for mean in MEANS)
)


def walked(force, scheduler=None, steps=4, ids=range(4), start=None, after=None, base=None):
    denoiser = ABC.denoiser()
    bound = (scheduler or Ddim()).bind(denoiser.process, denoiser.prediction_type)
    terms = [WeightedForce("tried", force.bind(denoiser.conditions), lambda at: 1.0, "force.tried")]
    engine = Engine({"": denoiser}, bound, bound.plan(steps), base or Base("uncond"), terms, micro_batch=32)
    ids = tuple(ids)
    batch = Batch(tuple(range(len(ids))), ids, tuple(i % 3 for i in ids), (7,) * len(ids))
    return list(walk(engine, batch, lambda at: frozenset(FIELDS), start, after))


def ask(frame, name):
    denoiser = ABC.denoiser()
    index = torch.tensor([row_of(denoiser.conditions, named(name), i % 3) for i in range(len(frame["x"]))])
    with torch.inference_mode():
        return denoiser.predict(frame["x"], torch.full((len(index),), frame.at.timestep), RowConditions(index))


def log_density(x, at, mean):
    """log N(x; m μ, m² s² + n²), up to what classes share."""
    m, n = at.rates
    return -((x - m * mean) ** 2).sum(-1) / (2 * (m**2 * SPREAD**2 + n**2))


def test_and():
    for frame in walked(And(targets=["A", "own"], weights=[1.0, 0.5], strength=2.0))[:-1]:
        null = ask(frame, "null")
        expected = null + 2.0 * ((ask(frame, "A") - null) + 0.5 * (ask(frame, "own") - null))
        torch.testing.assert_close(frame["prediction"], expected, rtol=1e-5, atol=1e-5)


def test_and_is_the_score_of_the_product():
    """∇ log p(x) Π p(x | c) / p(x) at each level, from the densities by differences."""
    frame = walked(And(targets=["A", "B"]))[2]
    x, h = frame["x"].numpy().astype(np.float64), 1e-5

    def log_product(x):
        each = [log_density(x, frame.at, mean) for mean in MEANS]
        everything = np.logaddexp.reduce(each, axis=0) - math.log(3)
        return each[0] + each[1] - everything

    score = np.stack([(log_product(x + h * e) - log_product(x - h * e)) / (2 * h) for e in np.eye(2)], axis=1)
    np.testing.assert_allclose(frame["prediction"].numpy(), -frame.at.rates[1] * score, rtol=1e-4, atol=1e-4)


def test_not():
    for frame in walked(Not(target="B", strength=0.7), base=Base("cond"))[:-1]:
        expected = ask(frame, "own") - 0.7 * (ask(frame, "B") - ask(frame, "null"))
        torch.testing.assert_close(frame["prediction"], expected, rtol=1e-5, atol=1e-5)


def shares_of(frame, weights):
    """What each class has in the density of the mixture at a state."""
    x = frame["x"].numpy().astype(np.float64)
    logs = np.stack([math.log(w) + log_density(x, frame.at, mean) for w, mean in zip(weights, MEANS, strict=False)])
    return np.exp(logs - np.logaddexp.reduce(logs, axis=0))


def test_or_keeps_the_shares_that_the_densities_have():
    """Bayes' rule along a path that the posterior draws, against the densities themselves; the finer the steps, the
    nearer."""
    places = []
    weights = (0.7, 0.3)
    frames = walked(Or(targets=["A", "B"], weights=weights), Ddpm(), 400, range(40), after=places.append)[:-1]
    for index in (100, 250, 350, 390):
        exact = shares_of(frames[index], weights)
        got = places[index].memory["force.tried/log_shares"].exp().numpy().T
        assert np.abs(got - exact).mean() < 0.03
        assert np.abs(got.sum(0) - 1).max() < 1e-6
    assert 0.5 < exact[0].mean() < 0.9  # about as many as asked for
    assert (exact.max(0) > 0.9).mean() > 0.8  # each sample has become one of them


def test_or_follows_its_shares():
    places = []
    frames = walked(Or(targets=["A", "B", "C"], strength=1.5), Ddpm(), 6, after=places.append)[:-1]
    for frame, place in zip(frames, places, strict=True):
        shares = place.memory["force.tried/log_shares"].exp().float()
        null = ask(frame, "null")
        mixed = sum(shares[:, i : i + 1] * ask(frame, name) for i, name in enumerate("ABC"))
        torch.testing.assert_close(frame["prediction"], null + 1.5 * (mixed - null), rtol=1e-4, atol=1e-4)
    first = places[0].memory["force.tried/log_shares"].exp()
    torch.testing.assert_close(first, torch.full_like(first, 1 / 3))


@pytest.mark.parametrize("scheduler", [Ddpm(), Heun()], ids=["ddpm", "heun, which evaluates twice"])
def test_or_goes_on_where_it_stopped(scheduler):
    places = []
    end = walked(Or(targets=["A", "B"]), scheduler, 6, after=places.append)[-1].x
    for place in places:
        assert torch.equal(walked(Or(targets=["A", "B"]), scheduler, 6, start=place)[-1].x, end)


def test_temperature_slows_the_decision():
    undecided = []
    for temperature in (1.0, 50.0):
        places = []
        walked(Or(targets=["A", "B"], temperature=temperature), Ddpm(), 20, after=places.append)
        undecided.append(float(places[-1].memory["force.tried/log_shares"].exp().min(1).values.mean()))
    assert undecided[0] < 0.1 < undecided[1]


def test_neighbours_do_not_matter():
    force = Or(targets=["A", "B"])
    assert torch.equal(walked(force, Ddpm(), 5, (5,))[-1].x[0], walked(force, Ddpm(), 5, range(8))[-1].x[5])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: And(targets=["A"], weights=[1, 2]), "2 numbers for 1 targets"),
        (lambda: And(targets="AB"), "expected a list of class names"),
        (lambda: And(targets=[]), "expected a list of class names"),
        (lambda: Or(targets=["A", "null"]), "null is no class"),
        (lambda: Or(targets=["A", "B"], weights=[1, 0]), "weights must be more than 0"),
        (lambda: Or(targets=["A"], weights=["much"]), "expected a list of numbers"),
        (lambda: Not(target="null"), "'null' is no class"),
    ],
)
def test_what_makes_no_sense(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("force", [And(targets=["A", "Q"]), Or(targets=["Q"]), Not(target="Q")])
def test_unknown_classes_are_refused(force):
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        force.bind(ABC.denoiser().conditions)


def test_a_class_of_weight_zero_is_not_asked():
    at = walked(And(targets=["A"]))[0].at
    assert set(And(targets=["A", "B"], weights=[1, 0]).conditions(at)) == {named("A"), NULL}
    assert not list(And(targets=["A"], strength=0).conditions(at))
    assert not list(Not(target="A", strength=0).conditions(at))
