"""Momentum against Nesterov's recursion, alone and in a walk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from emnist_diff.engine.plan import WeightedDrift
from emnist_diff.engine.state import Batch
from emnist_diff.engine.walk import walk
from emnist_diff.frames import FIELDS
from emnist_diff_testing import mixture

from emnist_diff_drifts_contrib.momentum import Momentum


def test_the_first_step_has_nothing_before_it(given):
    there = given(index=0)
    assert np.array_equal(there.by(Momentum(0.5)), there.after.astype(np.float32))
    assert np.array_equal(there.left["before"].numpy(), there.after.astype(np.float32))


@pytest.mark.parametrize("beta", [0.5, -0.5])
def test_a_share_of_the_last_move_is_made_again(given, beta):
    before = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 1, 8, 8)).astype(np.float32))
    there = given(memory={"before": before})
    x, b = there.after, before.numpy().astype(np.float64)
    np.testing.assert_allclose(there.by(Momentum(beta)), x + beta * (x - b), atol=1e-6)
    last = given(memory={"before": before}, index=10, alpha_bar_next=1.0)
    assert np.array_equal(last.by(Momentum(beta)), last.after.astype(np.float32))


def test_a_walk_is_nesterovs_recursion():
    """x_k = sampler(y_k), y_{k+1} = x_k + beta (x_k − x_{k−1}), the sampler asked step by step."""
    model = mixture((1, 4, 4), steps=6)
    batch = Batch((0, 1), (0, 1), (0, 1), (7, 7))

    def frames(engine):
        return list(walk(engine, batch, lambda at: frozenset(FIELDS)))

    *found, end = frames(model.engine(drifts=[WeightedDrift("momentum", Momentum(0.4))]))
    states = [frame["x"] for frame in found] + [end.x]
    made = []
    for index, frame in enumerate(found):
        moved = states[index + 1] - frame.group("drifts")[0]  # what the scheduler made of this step
        expected = moved + 0.4 * (moved - made[-1]) if 0 < index < 5 else moved
        torch.testing.assert_close(states[index + 1], expected, rtol=1e-5, atol=1e-5)
        made.append(moved)
    assert abs(found[3].group("drifts")[0]).max() > 0.01


@pytest.mark.parametrize("beta", [1.0, -1.0, 2.0])
def test_the_range_of_beta(beta):
    with pytest.raises(ValueError, match="beta"):
        Momentum(beta)
