"""Conversions between prediction types lose nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emnist_diff.conditions import RowConditions
from emnist_diff.parameterization import epsilon_from_x0, to_epsilon, to_x0
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture


@settings(max_examples=30, deadline=None)
@given(alpha_bar=st.floats(1e-4, 0.9999), seed=st.integers(0, 2**31))
def test_every_kind_gives_back_image_and_noise(alpha_bar, seed):
    generator = torch.Generator().manual_seed(seed)
    x0, epsilon = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    x = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * epsilon
    v = alpha_bar**0.5 * epsilon - (1 - alpha_bar) ** 0.5 * x0
    for kind, prediction in {"epsilon": epsilon, "sample": x0, "v_prediction": v}.items():
        torch.testing.assert_close(to_x0(prediction, x, alpha_bar, kind), x0, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(to_epsilon(prediction, x, alpha_bar, kind), epsilon, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(epsilon_from_x0(x0, x, alpha_bar), epsilon, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_mixture_speaks_every_kind(kind):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    t, conds = torch.full((4,), 400.0), RowConditions(torch.tensor([0, 1, 2, 3]))
    plain = GaussianMixture(shape=(3,), classes="ABC").denoiser()
    other = GaussianMixture(shape=(3,), classes="ABC", prediction=kind).denoiser()
    alpha_bar = float(plain._alpha_bar[400])
    epsilon = to_epsilon(other.predict(x, t, conds), x, alpha_bar, other.prediction)
    torch.testing.assert_close(epsilon, plain.predict(x, t, conds), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
def test_a_trajectory_does_not_depend_on_the_kind(make_engine, walk_all, kind):
    one = walk_all(make_engine(GaussianMixture(shape=(3,), classes="ABC"))).x
    other = walk_all(make_engine(GaussianMixture(shape=(3,), classes="ABC", prediction=kind))).x
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
