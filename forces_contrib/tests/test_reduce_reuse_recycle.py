"""A conjunction is sampled only with a correction at every level: the drift `langevin` with its test of each sample.

Needs emnist-diff-drifts-contrib.
"""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedDrift, WeightedForce
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddpm import Ddpm

from emnist_diff_forces_contrib.logical_and import And

MEANS, SPREAD = np.array([[[1.0, 0.3], [-1.0, -0.3]], [[1.0, -0.9], [-0.3, 1.1]]]), 0.45
COUNT, EDGE = 500, 0.35


def log_density(x, c):
    """ln p(x | c), up to a constant."""
    return np.logaddexp.reduce([-((x - mean) ** 2).sum(-1) / (2 * SPREAD**2) for mean in MEANS[c]])


def exact_share():
    """How much of p(x) · Π p(x | c) / p(x) lies beyond the edge, by a sum over a grid."""
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 3, 241)] * 2, indexing="ij"), -1)
    a, b = log_density(grid, 0), log_density(grid, 1)
    product = np.exp(a + b - np.logaddexp(a, b))
    return product[grid[..., 0] > EDGE].sum() / product.sum()


def share(drifts):
    """How many samples of "A and B" lie there."""
    means = tuple(tuple(map(tuple, each)) for each in MEANS)
    denoiser = GaussianMixture(shape=(2,), classes="AB", components=2, spread=SPREAD, means=means).denoiser()
    bound = Ddpm().bind(denoiser.process, denoiser.prediction_type)
    terms = [WeightedForce("and", And(targets=["A", "B"]), lambda at: 1.0)]
    engine = Engine({"": denoiser}, bound, bound.plan(40), Base("uncond"), terms, drifts, micro_batch=COUNT)
    ids = tuple(range(COUNT))
    *_, end = walk(engine, Batch(ids, ids, (0,) * COUNT, (3,) * COUNT), lambda at: frozenset())
    return float((end.x[:, 0] > EDGE).float().mean())


def test_acceptance_makes_the_product_of_the_scores_the_score_of_the_product():
    langevin = pytest.importorskip("emnist_diff_drifts_contrib.langevin")
    exact, error = exact_share(), (0.25 / COUNT) ** 0.5
    assert share(()) < exact - 3 * error  # following the score of the product misses it
    correction = WeightedDrift("langevin", langevin.Langevin(r=0.4, steps=10, acceptance=True), "drift.langevin")
    assert abs(share([correction]) - exact) < 2.5 * error
