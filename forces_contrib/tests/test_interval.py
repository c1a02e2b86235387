"""Interval guidance: the formula, the bounds, the rows that it saves."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.conditions import NULL, OWN
from emnist_diff.errors import ConfigError

from emnist_diff_forces_contrib.interval import Interval


@pytest.mark.parametrize("shape", [(1, 8, 8), (16,), (6, 8)])
@pytest.mark.parametrize(
    ("kind", "path"),
    [("epsilon", "diffusion"), ("v_prediction", "diffusion"), ("sample", "diffusion"), ("flow", "flow")],
)
@pytest.mark.parametrize(("sigma", "inside"), [(5.0, False), (3.0, True), (1.0, True), (0.5, False), (0.2, False)])
def test_the_prediction_is_guided_between_the_bounds_and_plain_elsewhere(given, shape, kind, path, sigma, inside):
    case = given(shape, kind, path, alpha_bar=1 / (1 + sigma**2))
    expected = case.null + 2.5 * (case.own - case.null) if inside else case.own
    got = case.of(Interval(scale=2.5, low=0.7, high=4))
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


def test_the_upper_bound_belongs_to_it_and_the_lower_does_not(given):
    for sigma, scale in ((4.0, 3.0), (2.0, 1.0), (3.0, 3.0)):
        at = given(alpha_bar=1 / (1 + sigma**2)).step.at
        assert at.sigma == sigma
        assert Interval(low=2, high=4).scale_at(at) == scale


def test_outside_no_rows_are_asked_for_no_class(given, assembled):
    force = Interval(low=0.5, high=2)
    assert list(force.conditions(given(alpha_bar=0.5).step.at)) == [NULL, OWN]
    assert list(force.conditions(given(alpha_bar=0.01).step.at)) == [OWN]
    run = assembled(base="cond", forces=[{"name": "interval", "low": 0.5, "high": 2}])
    inside = sum(0.5 < sigma <= 2 for sigma in run.engine.timeline.sigma)
    assert 0 < inside < 6
    assert run.plan.rows == 3 * (6 + inside)


def test_bounds_that_hold_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"low = 2 must be below high = 1"):
        Interval(low=2, high=1)
