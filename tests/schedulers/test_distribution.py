"""Stochastic schedulers end in the distribution that the network knows: 10,000 samples after 200 steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.ddpm import Ddpm
from emnist_diff_plugins.schedulers.dpmpp_2m_sde import DpmPp2MSde
from emnist_diff_plugins.schedulers.dpmpp_sde import DpmPpSde
from emnist_diff_plugins.schedulers.edm import Edm
from emnist_diff_plugins.schedulers.euler_ancestral import EulerAncestral
from emnist_diff_plugins.schedulers.flow_edm import FlowEdm
from emnist_diff_plugins.schedulers.flow_euler_ancestral import FlowEulerAncestral

SAMPLES, STEPS = 10_000, 200


def hills(make_world, **settings):
    """One class of two Gaussians, its mean and its covariance."""
    world = make_world(classes="A", means=(((0.9, -0.3), (-0.5, 0.6)),), spread=0.5, **settings)
    means = world.family.mean_array()[0]
    return world, means.mean(0), np.cov(means.T, bias=True) + 0.25 * np.eye(2)


@pytest.fixture(scope="module")
def two_hills(make_world):
    return hills(make_world)


@pytest.fixture(scope="module")
def two_hills_of_a_flow(make_world):
    return hills(make_world, prediction="flow")


@pytest.mark.parametrize(
    "scheduler",
    [
        Ddpm(),
        Ddim(eta=1.0),
        EulerAncestral(),
        DpmPp2MSde(),
        DpmPpSde(),
        Edm(s_churn=40.0),
    ],
    ids=["ddpm", "ddim-1", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "edm-churn"],
)
def test_mean_and_covariance_are_the_mixtures(two_hills, scheduler):
    ends_in_the_mixture(two_hills, scheduler)


@pytest.mark.parametrize(
    "scheduler",
    [FlowEulerAncestral(), FlowEulerAncestral(eta=0.5, shift=2), FlowEdm(s_churn=40.0)],
    ids=["euler_ancestral", "euler_ancestral-0.5", "edm-churn"],
)
def test_mean_and_covariance_of_a_flow_are_the_mixtures(two_hills_of_a_flow, scheduler):
    ends_in_the_mixture(two_hills_of_a_flow, scheduler)


def ends_in_the_mixture(two_hills, scheduler):
    world, mean, covariance = two_hills
    generator = torch.Generator().manual_seed(5)

    def fresh(*_) -> torch.Tensor:
        return torch.randn(SAMPLES, 2, generator=generator, dtype=torch.float64)

    end = world.walk(scheduler, STEPS, fresh(), fresh).end
    assert (np.abs(end.mean(0) - mean) < 4.0 * np.sqrt(np.diag(covariance) / SAMPLES)).all()
    # of a sample covariance: var(c_ij) = (c_ii c_jj + c_ij²) / n for Gaussians, and less for two hills side by side
    power = np.outer(np.diag(covariance), np.diag(covariance))
    assert (np.abs(np.cov(end.T) - covariance) < 4.0 * np.sqrt((power + covariance**2) / SAMPLES)).all()


def test_without_its_noise_the_same_sampler_would_not_pass(two_hills):
    """The bounds are tight enough to see a noise that is a twentieth too small."""
    world, _, covariance = two_hills
    generator = torch.Generator().manual_seed(5)

    def weak(*_) -> torch.Tensor:
        return 0.95 * torch.randn(SAMPLES, 2, generator=generator, dtype=torch.float64)

    end = world.walk(EulerAncestral(), STEPS, weak() / 0.95, weak).end
    assert np.cov(end.T)[0, 0] < covariance[0, 0] * (1 - 4.0 * np.sqrt(2 / SAMPLES))
