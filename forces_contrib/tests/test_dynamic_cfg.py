"""Guidance over time: each curve against its formula, and what it costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from emnist_diff.conditions import NULL, OWN
from emnist_diff.errors import ConfigError

from emnist_diff_forces_contrib.dynamic_cfg import DynamicCfg

CURVES = {
    # in the training time of the paper, which falls: t/T = 1 − frac
    "constant": lambda t: 1.0,
    "linear": lambda t: 1 - t,
    "inverse_linear": lambda t: t,
    "cosine": lambda t: (math.cos(math.pi * t) + 1) / 2,
    "sine": lambda t: (math.sin(math.pi * t - math.pi / 2) + 1) / 2,
    "lambda": lambda t: 2 * t if t < 0.5 else 2 * (1 - t),
    "v": lambda t: 1 - 2 * t if t < 0.5 else 2 * t - 1,
    "power_cosine": lambda t: (1 - math.cos(math.pi * (1 - t) ** 3)) / 2,
    "beta": lambda t: ((1 - t) ** 2 * t) / ((2 / 3) ** 2 * (1 / 3)),
}


@pytest.mark.parametrize("curve", CURVES)
def test_a_scale_is_one_plus_a_share_of_the_weight(given, curve):
    force = DynamicCfg(curve=curve, scale=5, power=3, a=3, b=2)
    for index in range(11):
        case = given(index=index, seed=index)
        scale = 1 + 4 * CURVES[curve](1 - index / 10)
        assert force.scale_at(case.step.at) == pytest.approx(scale, abs=1e-12)
        np.testing.assert_allclose(case.of(force), case.null + scale * (case.own - case.null), rtol=0, atol=5e-6)


@pytest.mark.parametrize("curve", CURVES)
def test_a_curve_is_a_share_whose_peak_is_one(given, curve):
    force = DynamicCfg(curve=curve, scale=2, power=0.7, a=1.5, b=4)
    shares = [force.scale_at(given(index=i, steps=401).step.at) - 1 for i in range(401)]
    assert min(shares) >= 0
    assert max(shares) == pytest.approx(1, abs=1e-4)


def test_a_scale_may_be_a_schedule_and_has_a_floor(given):
    force = DynamicCfg(curve="constant", scale={"kind": "ramp", "start": 0, "end": 4}, floor=1.5)
    assert [force.scale_at(given(index=i).step.at) for i in (0, 5, 10)] == [1.5, 2, 4]


def test_a_scale_of_one_reads_only_the_class(given):
    force = DynamicCfg(curve="linear", scale=3)
    assert list(force.conditions(given(index=0).step.at)) == [OWN]
    assert list(force.conditions(given(index=1).step.at)) == [NULL, OWN]
    assert list(DynamicCfg(curve="constant", scale=0).conditions(given().step.at)) == [NULL]


def test_flat_ends_of_the_beta_curve(given):
    assert DynamicCfg(curve="beta", scale=3, a=1, b=1).scale_at(given(index=10).step.at) == 3
    assert DynamicCfg(curve="beta", scale=3, a=1, b=2).scale_at(given(index=0).step.at) == 3
    with pytest.raises(ConfigError, match=r"b = 0\.5 must be at least 1"):
        DynamicCfg(curve="beta", b=0.5)
