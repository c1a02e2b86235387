"""The numbers of a sample's states and attention, each against its formula written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emnist_diff_plugins.metrics import trace

STATES = np.random.default_rng(3).normal(size=(5, 2, 3, 2)).astype(np.float32) * np.array([9, 5, 3, 2, 1]).reshape(
    5, 1, 1, 1
)
ATTENTION = np.random.default_rng(4).dirichlet([0.3] * 7, size=(5, 6))
"""Of five steps, of six queries to seven keys."""


def by_step(function):
    return [function(i) for i in range(len(STATES))]


def test_norms_and_cosines():
    flat = STATES.reshape(5, -1).astype(float)
    assert trace.l2_norms(STATES) == pytest.approx([math.sqrt(sum(v * v for v in x)) for x in flat])
    half = STATES.reshape(5, -1).astype(np.float16).astype(float)

    def similarity(a, b, more):
        return sum(a * b) / (math.sqrt(sum(a * a)) * math.sqrt(sum(b * b)) + more)

    previous = trace.cosine_to_previous(STATES)
    assert math.isnan(previous[0])
    assert previous[1:] == pytest.approx([similarity(half[i - 1], half[i], 1e-8) for i in range(1, 5)], abs=1e-12)
    updates = trace.cosine_of_updates(STATES)
    assert (len(updates), math.isnan(updates[0])) == (4, True)
    expected = [similarity(flat[i] - flat[i - 1], flat[i + 1] - flat[i], 0) for i in range(1, 4)]
    assert updates[1:] == pytest.approx(expected)
    assert np.isnan(trace.cosine_of_updates(np.ones((3, 4)))).all()
    assert trace.cosine_to_previous(np.full((2, 3), 1e6))[1] == pytest.approx(1)  # which half precision cannot hold


def test_entropy_and_activation_are_safe_where_nothing_is_attended_to():
    expected = by_step(lambda i: -sum(p * math.log(p) for q in ATTENTION[i] for p in q if p > 0) / 6)
    assert trace.entropy(ATTENTION) == pytest.approx(expected)
    assert trace.entropy(np.eye(4)) == 0.0
    assert trace.entropy(np.full((2, 77), 1 / 77)) == pytest.approx(math.log(77))
    sharp = ATTENTION.astype(np.float16)
    sharp[:, :, 0] = 0.0  # the logarithm of which was NaN in half precision
    assert np.isfinite(trace.entropy(sharp)).all()
    activation = trace.token_activation(ATTENTION)
    assert activation.sum(-1) == pytest.approx(np.ones(5))
    assert activation[2, 3] == pytest.approx(sum(q[3] for q in ATTENTION[2]) / 6)


def test_divergence_from_the_step_before():
    p = trace.token_activation(ATTENTION)
    p[3, 2] = 0.0
    divergence = trace.kl_to_previous(p)
    assert math.isnan(divergence[0])
    clipped = [[max(v, 1e-8) for v in row] for row in p]
    unit = [[v / sum(row) for v in row] for row in clipped]
    expected = [sum(a * math.log(a / b) for a, b in zip(unit[i], unit[i - 1], strict=True)) for i in range(1, 5)]
    assert divergence[1:] == pytest.approx(expected)
    assert trace.kl_to_previous(np.full((2, 4), 0.25))[1] == 0.0
    assert np.isfinite(trace.kl_to_previous(np.eye(3)))[1:].all()


def test_dominance_with_and_without_special_tokens():
    activation = trace.token_activation(ATTENTION)
    found = trace.Dominance.of(activation)
    scores = [sum(activation[i][k] for i in range(5)) / 5 for k in range(7)]
    assert found.scores == pytest.approx(scores)
    order = sorted(range(7), key=lambda k: -scores[k])
    assert found.ranking == tuple((k, pytest.approx(scores[k])) for k in order)
    assert len(trace.Dominance.of(np.full((2, 40), 1 / 40)).ranking) == 25
    special = np.array([1, 0, 0, 1, 0, 0, 1], bool)
    own = trace.masked(activation, special)
    rest = sum(activation[1][k] for k in (1, 2, 4, 5))
    assert own[1] == pytest.approx([0 if special[k] else activation[1][k] / rest for k in range(7)])
    assert np.isnan(trace.masked(activation, np.ones(7, bool))).all()
    gap = activation.copy()
    gap[0] = np.nan
    assert trace.Dominance.of(gap).scores == pytest.approx(activation[1:].mean(0))
    assert trace.Dominance.of(np.full((2, 3), np.nan)).ranking == ()


def test_the_plane_of_states():
    plane = trace.Plane.of(STATES)
    x = STATES.reshape(5, -1).astype(float)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    assert plane.ratio == pytest.approx(values[::-1][:2] / values.sum(), abs=1e-6)
    expected = (x - x.mean(0)) @ vectors[:, ::-1][:, :2]
    assert np.abs(plane.points) == pytest.approx(np.abs(expected), abs=1e-5)
    assert (trace.Plane.of(STATES * 1).points == plane.points).all()
    one = trace.Plane.of(STATES[:1])
    assert (one.points.tolist(), one.ratio.tolist()) == ([[0, 0]], [1, 0])
    none = trace.Plane.of(STATES[:0])
    assert (none.points.shape, none.ratio.tolist()) == ((0, 2), [0, 0])
    same = trace.Plane.of(np.ones((3, 4)))
    assert (same.points.tolist(), same.ratio.tolist()) == ([[0, 0]] * 3, [0, 0])
    assert trace.Plane.of(np.array([[1.0], [3.0]])).ratio.tolist() == [1, 0]


def test_the_scale_of_states_is_that_of_their_noise():
    sigma = np.array([14.6, 7.0, 3.0, 1.0, 0.0])
    x = STATES.reshape(5, -1).astype(float)
    expected = [x[i] / math.sqrt(1 + sigma[i] ** 2) for i in range(5)]
    assert trace.scaled(STATES, np.ones(5), sigma) == pytest.approx(np.array(expected))
    signal = np.sqrt(1 / (1 + sigma**2))  # of the same states as diffusions are recorded
    assert trace.scaled(STATES * signal.reshape(5, 1, 1, 1), signal, sigma * signal) == pytest.approx(
        np.array(expected), rel=1e-6
    )
