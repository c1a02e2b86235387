"""APG: the algorithm of the paper in float64, its memory, and a walk that stops on the way."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.conditions import NULL, OWN
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk

from emnist_diff_forces_contrib.adaptive_projected import AdaptiveProjected

SHAPES = [(1, 8, 8), (16,), (6, 8)]
KINDS = [("epsilon", "diffusion"), ("v_prediction", "diffusion"), ("sample", "diffusion"), ("flow", "flow")]


def paper(own, null, scale, eta, momentum, threshold, before):
    """Algorithm 1 for image estimates of one sample: (guided image, running difference)."""
    running = own - null + momentum * before
    length = np.sqrt((running**2).sum())
    difference = running * min(1.0, threshold / length) if threshold else running
    unit = own / np.sqrt((own**2).sum())
    along = (difference * unit).sum() * unit
    return own + (scale - 1) * ((difference - along) + eta * along), running


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "path"), KINDS)
@pytest.mark.parametrize(("eta", "momentum", "threshold"), [(0, 0, None), (0.3, -0.5, 1.5), (1, -0.75, None)])
def test_three_steps_are_those_of_the_paper(exact, given, shape, kind, path, eta, momentum, threshold):
    force = AdaptiveProjected(scale=4, eta=eta, momentum=momentum, threshold=threshold)
    before, memory = np.zeros((3, *shape)), {}
    for index, alpha_bar in enumerate((0.2, 0.5, 0.8)):
        left = {}
        case = given(shape, kind, path, alpha_bar=alpha_bar, seed=index, memory=memory, remember=left.__setitem__)
        got = case.of(force)
        rates = exact.rates(alpha_bar, path)
        own, null = (exact.split(p, case.x, rates, kind)[0] for p in (case.own, case.null))
        for sample in range(3):
            image, before[sample] = paper(own[sample], null[sample], 4, eta, momentum, threshold, before[sample])
            noise = (case.x[sample] - rates[0] * image) / rates[1]
            expected = exact.joined(image, noise, rates, kind)
            np.testing.assert_allclose(got[sample], expected, rtol=0, atol=5e-5)
        assert bool(left) == (momentum != 0)
        memory = left


def test_without_its_refinements_it_is_plain_guidance(given):
    case = given()
    got = case.of(AdaptiveProjected(scale=3, eta=1, momentum=0))
    np.testing.assert_allclose(got, case.null + 3 * (case.own - case.null), rtol=0, atol=1e-5)


def test_scale_one_asks_for_no_class_only_where_it_has_to_remember(given):
    at = given().step.at
    assert list(AdaptiveProjected(scale=1, momentum=0).conditions(at)) == [OWN]
    assert list(AdaptiveProjected(scale=1).conditions(at)) == [NULL, OWN]


def test_a_walk_that_stopped_goes_on_to_the_same_bits(assembled):
    run = assembled(base="cond", forces=[{"name": "adaptive_projected", "threshold": 1}])
    batch = Batch((0, 1), (0, 1), (0, 1), (5, 5))
    places = []
    *_, last = walk(run.engine, batch, lambda at: frozenset({"x"}), after_step=places.append)
    for place in places[:-1]:
        assert any(name.endswith("/delta") for name in place.memory)
        *_, again = walk(run.engine, batch, lambda at: frozenset(), start=place)
        assert torch.equal(again.x, last.x)
    forgotten = attrs.evolve(places[2], memory={})
    *_, other = walk(run.engine, batch, lambda at: frozenset(), start=forgotten)
    assert not torch.equal(other.x, last.x)
