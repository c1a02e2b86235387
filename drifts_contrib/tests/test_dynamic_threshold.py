"""Dynamic thresholding against Imagen's rule in NumPy."""

from __future__ import annotations

import statistics
import types

import numpy as np
import pytest
import torch
from emnist_diff.timeline import NoiseSchedule

from emnist_diff_drifts_contrib.dynamic_threshold import DynamicThreshold, normal_percentile, threshold


def imagen(x0: np.ndarray, percentile: float, limit: float = 1.0) -> np.ndarray:
    """Saharia et al., 2022, section 2.3, sample by sample, with the bound `limit` in the place of 1."""
    out = []
    for one in x0:
        s = max(np.quantile(abs(one), percentile), limit)
        out.append(np.clip(one, -s, s) * limit / s)
    return np.stack(out)


SCALES = np.array([0.3, 1.0, 4.0])[:, None, None, None]


@pytest.mark.parametrize("of", ["state", "x0"])
@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.995])
def test_in_the_image_it_is_imagens_rule(given, of, percentile):
    x0 = np.random.default_rng(0).normal(size=(3, 1, 8, 8)) * SCALES
    there = given(index=10, alpha_bar_next=1.0, after=x0)
    out = there.by(DynamicThreshold(percentile=percentile, of=of, limit=0.8))
    np.testing.assert_allclose(out, imagen(x0, percentile, 0.8), atol=1e-5)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_of_x0_it_is_imagens_rule_within_ddim(given, kind):
    path = "flow" if kind == "flow" else "diffusion"
    x0 = np.random.default_rng(0).normal(size=(3, 1, 8, 8)) * SCALES
    there = given(path=path, kind=kind)
    ddim = there.signal * x0 + there.rest * there.epsilon
    expected = there.signal * imagen(x0, 0.9) + there.rest * there.epsilon
    moved = given(path=path, kind=kind, after=ddim)
    np.testing.assert_allclose(moved.by(DynamicThreshold(percentile=0.9, of="x0")), expected, atol=1e-5)


def test_of_the_state_the_bound_is_that_of_image_and_noise(given):
    x = np.random.default_rng(0).normal(size=(3, 1, 8, 8)) * SCALES
    there = given(after=x)
    bound = there.signal + there.rest * statistics.NormalDist().inv_cdf((1 + 0.9) / 2)
    np.testing.assert_allclose(there.by(DynamicThreshold(percentile=0.9)), imagen(x, 0.9, bound), atol=1e-5)


def test_the_limit_is_the_models_range_or_what_a_normal_has(given):
    usual = statistics.NormalDist().inv_cdf((1 + 0.9) / 2)
    x0 = np.random.default_rng(0).normal(size=(3, 1, 8, 8)) * SCALES
    there = given(index=10, alpha_bar_next=1.0, after=x0)
    for clip, limit, expected in ((0.5, None, 0.5), (None, None, usual), (None, 0.8, 0.8)):
        model = types.SimpleNamespace(process=NoiseSchedule(clip_sample=clip))
        drift = DynamicThreshold(percentile=0.9, limit=limit).encoded(model)
        np.testing.assert_allclose(there.by(drift), imagen(x0, 0.9, expected), atol=1e-5)


def test_plain_noise_passes(given):
    """A state of almost no signal is noise, and noise is within its own percentile about half of the time; one
    sample of many elements hardly changes."""
    noise = np.random.default_rng(0).normal(size=(3, 1, 64, 64))
    there = given(shape=(1, 64, 64), alpha_bar=0.0005, alpha_bar_next=0.001, after=noise)
    out = there.by(DynamicThreshold(percentile=0.99))
    assert np.quantile(abs(out - noise), 0.98) < 0.1


def test_what_is_within_the_bound_stays(given):
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 1, 8, 8)).astype(np.float32)
    there = given(after=x)
    assert np.array_equal(there.by(DynamicThreshold()), x)


def test_a_state_of_one_element_and_a_state_of_zeros():
    assert threshold(torch.tensor([[3.0]]), 1.0, 0.9).tolist() == [[1.0]]
    assert threshold(torch.zeros(2, 5), 0.0, 0.9).tolist() == torch.zeros(2, 5).tolist()


@pytest.mark.parametrize("percentile", [0.01, 0.5, 0.995])
def test_the_percentile_of_noise(percentile):
    assert normal_percentile(percentile) == pytest.approx(statistics.NormalDist().inv_cdf((1 + percentile) / 2))
