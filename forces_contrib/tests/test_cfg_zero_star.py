"""CFG-Zero*: the optimised scale, sample by sample, and first steps that do not move."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.conditions import NULL, OWN

from emnist_diff_forces_contrib.cfg_zero_star import CfgZeroStar

SHAPES = [(1, 8, 8), (16,), (6, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kind", "path"), [("epsilon", "diffusion"), ("v_prediction", "diffusion"), ("flow", "flow")])
def test_no_class_is_rescaled_to_come_nearest_to_the_class(given, shape, kind, path):
    case = given(shape, kind, path)
    got = case.of(CfgZeroStar(scale=3))
    for sample in range(3):
        own, null = case.own[sample], case.null[sample]
        best = np.linalg.lstsq(null.reshape(-1, 1), own.ravel(), rcond=None)[0][0]
        np.testing.assert_allclose(got[sample], best * null + 3 * (own - best * null), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("epsilon", "diffusion"), ("v_prediction", "diffusion"), ("sample", "diffusion"), ("flow", "flow")],
)
def test_the_first_steps_mean_no_velocity(exact, given, kind, path):
    case = given((2, 3), kind, path, index=1, alpha_bar=0.3)
    rates = exact.rates(0.3, path)
    image, noise = exact.split(case.of(CfgZeroStar(zero_steps=2)), case.x, rates, kind)
    velocity = noise - image if path == "flow" else rates[0] * noise - rates[1] * image
    np.testing.assert_allclose(velocity, 0, atol=1e-5)
    assert list(CfgZeroStar(zero_steps=2).conditions(case.step.at)) == []


def test_a_flow_stands_still_at_first_and_then_moves(walked):
    run = walked(
        mixture={"prediction": "flow"}, base="cond", forces=[{"name": "cfg_zero_star", "scale": 2, "zero_steps": 2}]
    )
    states = run.stacked("x")
    np.testing.assert_allclose(states[2], states[0], atol=1e-6)
    assert np.abs(states[3] - states[0]).max() > 0.1


def test_scale_one_is_the_class_alone(given):
    case = given()
    assert list(CfgZeroStar(scale=1).conditions(case.step.at)) == [OWN]
    assert list(CfgZeroStar(scale=2).conditions(case.step.at)) == [NULL, OWN]
    np.testing.assert_allclose(case.of(CfgZeroStar(scale=1)), case.own, atol=1e-6)
