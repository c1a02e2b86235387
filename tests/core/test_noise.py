"""Noise: the same numbers for the same key, everywhere, for ever."""

from __future__ import annotations

import numpy as np
import pytest

from emnist_diff.noise import INITIAL, batch_normal, standard_normal


def test_golden_values():
    first = standard_normal(1000, 0, INITIAL, "init", 4)
    later = standard_normal(2**63 - 1, 12345, 49, "drift.default", 4)
    assert first.dtype == np.float32
    assert [float(v) for v in first] == pytest.approx(GOLDEN_FIRST, abs=0, rel=1e-7)
    assert [float(v) for v in later] == pytest.approx(GOLDEN_LATER, abs=0, rel=1e-7)


GOLDEN_FIRST = [1.5948679447174072, 1.3777331113815308, -0.7020167112350464, -1.380075454711914]
GOLDEN_LATER = [0.553183376789093, 0.3846661448478699, -0.17634718120098114, 0.014996969141066074]


@pytest.mark.parametrize(
    ("seed", "sample", "step", "stream"),
    [(2, 3, 4, "a"), (1, 4, 4, "a"), (1, 3, 5, "a"), (1, 3, 4, "b"), (1 + 2**32, 3, 4, "a"), (1, 3 + 2**32, 4, "a")],
)
def test_every_part_of_the_key_matters(seed, sample, step, stream):
    reference, other = standard_normal(1, 3, 4, "a", 4000), standard_normal(seed, sample, step, stream, 4000)
    assert len(np.intersect1d(reference, other)) < 10
    assert abs(np.corrcoef(reference, other)[0, 1]) < 4.5 / np.sqrt(4000)


def test_global_state_has_no_say():
    np.random.seed(0)
    one = standard_normal(1, 0, 0, "a", 10)
    np.random.seed(1)
    assert np.array_equal(one, standard_normal(1, 0, 0, "a", 10))


def test_moments_are_those_of_a_standard_normal():
    n = 200_000
    x = standard_normal(3, 1, 0, "moments", n).astype(np.float64)
    for power, (mean, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        assert abs((x**power).mean() - mean) < 4.5 * np.sqrt(variance / n)
    assert abs(np.corrcoef(x[: n // 2], x[n // 2 :])[0, 1]) < 4.5 / np.sqrt(n / 2)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 784, 785])
def test_any_count(count):
    assert standard_normal(1, 0, 0, "a", count).shape == (count,)


def test_a_batch_is_its_samples():
    batch = batch_normal([1, 9], [4, 5], 3, "a", (1, 2, 3))
    assert tuple(batch.shape) == (2, 1, 2, 3)
    for row, (seed, sample) in zip(batch, [(1, 4), (9, 5)], strict=True):
        assert np.array_equal(row.numpy().ravel(), standard_normal(seed, sample, 3, "a", 6))
