"""Noise: the same numbers for the same key, everywhere, for ever."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import numpy.typing as npt
import pytest

from emnist_diff.engine.noise import INITIAL, batch_normal


def standard_normal(seed: int, sample_id: int, step: int, stream: str, count: int) -> npt.NDArray[np.float32]:
    return batch_normal([seed], [sample_id], step, stream, (count,))[0].numpy()


def definition(seed: int, sample_id: int, step: int, stream: str, count: int) -> np.ndarray:
    """The numbers of one key, one after another."""
    digest = hashlib.blake2b(struct.pack("<Q", seed) + stream.encode(), digest_size=16).digest()
    counter = np.array([0, 0, step + 1, sample_id], dtype=np.uint64)
    bits = np.random.Philox(key=np.frombuffer(digest, dtype="<u8"), counter=counter).random_raw(count + count % 2)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    half = len(bits) // 2
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:half])), 2.0 * np.pi * uniform[half:]
    return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count].astype(np.float32)


def test_batches_are_the_definition_to_the_bit_for_thousands_of_keys():
    random = np.random.default_rng(0)
    keys = 0
    for number in range(200):
        shape = ((1, 28, 28), (3,), (1,), (5, 7), (1, 32, 33), (2, 40, 41))[number % 6]
        size = int(random.integers(1, 50))
        seeds = [int(v) for v in random.integers(0, 2**63, size)] if number % 2 else [2**64 - 1 - number] * size
        ids = [int(v) for v in random.integers(0, 2**62, size)]
        step = int(random.integers(-1, 1000))
        batch = batch_normal(seeds, ids, step, f"stream {number}", shape)
        for row, seed, sample in zip(batch, seeds, ids, strict=True):
            expected = definition(seed, sample, step, f"stream {number}", row.numel())
            assert row.numpy().tobytes() == expected.tobytes()
        keys += size
    assert keys > 4000


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
