"""Conversions between prediction types lose nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emnist_diff.conditions import RowConditions
from emnist_diff.parameterization import epsilon_from_x0, to_epsilon, to_x0
from emnist_diff.timeline import StepInfo, rates
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler


@settings(max_examples=50, deadline=None)
@given(alpha_bar=st.floats(1e-4, 0.9999), path=st.sampled_from(["diffusion", "flow"]), seed=st.integers(0, 2**31))
def test_every_kind_gives_back_image_and_noise(alpha_bar, path, seed):
    generator = torch.Generator().manual_seed(seed)
    x0, epsilon = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    at = StepInfo(0, 10, 500.0, alpha_bar, 1.0, process=path)
    signal, noise = at.rates
    x = signal * x0 + noise * epsilon
    kinds = {"epsilon": epsilon, "sample": x0}
    if path == "flow":
        kinds["flow"] = epsilon - x0
    else:
        kinds["v_prediction"] = signal * epsilon - noise * x0
    for kind, prediction in kinds.items():
        torch.testing.assert_close(to_x0(prediction, x, at.rates, kind), x0, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(to_epsilon(prediction, x, at.rates, kind), epsilon, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(epsilon_from_x0(x0, x, at.rates), epsilon, rtol=1e-8, atol=1e-8)


@settings(max_examples=50, deadline=None)
@given(alpha_bar=st.floats(0.0, 1.0))
def test_rates_keep_the_signals_share_of_the_power(alpha_bar):
    for path, power in (("diffusion", 2), ("flow", 1)):
        signal, noise = rates(alpha_bar, path)
        assert abs(signal**power + noise**power - 1) < 1e-12
        assert abs(signal**2 / (signal**2 + noise**2) - alpha_bar) < 1e-12


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_the_mixture_speaks_every_kind(kind):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    conds = RowConditions(torch.tensor([0, 1, 2, 3]))
    plain = GaussianMixture(shape=(3,), classes="ABC").denoiser()
    other = GaussianMixture(shape=(3,), classes="ABC", prediction=kind).denoiser()
    at = Ddim().bind(plain.process, "epsilon").plan(10).at(6)
    t = torch.full((4,), at.timestep)
    epsilon = to_epsilon(other.predict(x, t, conds), x, at.rates, other.prediction_type)
    torch.testing.assert_close(epsilon, plain.predict(x, t, conds), rtol=1e-5, atol=1e-5)


def test_the_mixtures_velocity_is_that_of_the_same_mixture():
    """At one noise-to-signal ratio, a flow's state is a diffusion's, scaled; what may lie behind them is the same."""
    diffusion = GaussianMixture(shape=(3,), classes="ABC").denoiser()
    flow = GaussianMixture(shape=(3,), classes="ABC", prediction="flow").denoiser()
    there = Ddim().bind(diffusion.process, "epsilon").plan(10).at(6)
    s = there.sigma / (1.0 + there.sigma)
    here = FlowEuler(sigmas=(s,)).bind(flow.process, "flow").plan(1).at(0)
    x0 = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    conds = RowConditions(torch.tensor([0, 1, 2, 3]))

    def image(denoiser, at):
        x = at.rates[0] * (x0 + at.sigma * 0.3)
        t = torch.full((4,), at.timestep, dtype=torch.float64)
        return to_x0(denoiser.predict(x, t, conds), x, at.rates, denoiser.prediction_type)

    torch.testing.assert_close(image(flow, here), image(diffusion, there), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["sample", "v_prediction"])
def test_a_trajectory_does_not_depend_on_the_kind(make_engine, walk_all, kind):
    one = walk_all(make_engine(GaussianMixture(shape=(3,), classes="ABC"))).x
    other = walk_all(make_engine(GaussianMixture(shape=(3,), classes="ABC", prediction=kind))).x
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
