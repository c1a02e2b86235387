"""Samplers that diffusers has not, against their published algorithms written down once more in NumPy.

States here are those of Karras et al., x0 + sigma eps.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from emnist_diff_plugins.schedulers.dpmpp_sde import DpmPpSde
from emnist_diff_plugins.schedulers.edm import Edm
from emnist_diff_plugins.schedulers.heun import Heun

STEPS = 12


def normal(index: int, stream: str = "") -> np.ndarray:
    return np.random.default_rng([index, len(stream)]).normal(size=(5, 2))


def noise(index: int, stream: str = "") -> torch.Tensor:
    return torch.from_numpy(normal(index, stream))


@pytest.fixture(scope="module")
def world(make_world):
    return make_world(spread=0.4)


@pytest.fixture(scope="module")
def denoise(world):
    """D(x; sigma), the mean of the images that x may come from."""
    means, spread = world.family.mean_array()[0], world.family.spread

    def mean(x: np.ndarray, sigma: float) -> np.ndarray:
        variance = spread**2 + sigma**2
        distance = ((x[:, None] - means) ** 2).sum(-1)
        share = np.exp(-0.5 * (distance - distance.min(1, keepdims=True)) / variance)
        share /= share.sum(1, keepdims=True)
        each = means + spread**2 / variance * (x[:, None] - means)
        return (share[..., None] * each).sum(1)

    return mean


def levels(world) -> list[float]:
    """The Karras grid of the defaults and the zero after it."""
    return [*Heun().bind(world.denoiser.process, "epsilon").plan(STEPS).sigma.tolist(), 0.0]


def in_sigma(path, index: int) -> np.ndarray:
    """A state of a walk as x0 + sigma eps."""
    signal = 1.0 if index == len(path.timeline) else path.timeline.at(index).rates[0]
    return path.states[index].numpy() / signal


@pytest.mark.parametrize(
    "churn", [{}, {"s_churn": 5.0}, {"s_churn": 40.0, "s_tmin": 0.1, "s_tmax": 20.0, "s_noise": 1.007}]
)
def test_edm_algorithm_2(world, denoise, churn):
    settings = {"s_churn": 0.0, "s_tmin": 0.0, "s_tmax": math.inf, "s_noise": 1.0, **churn}
    t = levels(world)
    path = world.walk(Edm(**churn), STEPS, noise(99), noise)

    x = normal(99)
    for i in range(STEPS):
        inside = settings["s_tmin"] <= t[i] <= settings["s_tmax"]
        gamma = min(settings["s_churn"] / STEPS, math.sqrt(2.0) - 1.0) if inside else 0.0
        raised = t[i] + gamma * t[i]
        if i == 0:  # its noise is that of the raised level from the outset
            x_hat = x * math.sqrt(1.0 + raised**2)
        else:
            x_hat = x + math.sqrt(raised**2 - t[i] ** 2) * settings["s_noise"] * normal(i - 1)
        np.testing.assert_allclose(in_sigma(path, i), x_hat, rtol=1e-5, atol=1e-5)
        slope = (x_hat - denoise(x_hat, raised)) / raised
        x = x_hat + (t[i + 1] - raised) * slope
        if t[i + 1] != 0.0:
            there = (x - denoise(x, t[i + 1])) / t[i + 1]
            x = x_hat + (t[i + 1] - raised) * (slope + there) / 2.0
    np.testing.assert_allclose(path.end, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("r", [0.5, 0.3])
def test_dpmpp_sde_of_k_diffusion(world, denoise, eta, r):
    t = levels(world)
    path = world.walk(DpmPpSde(eta=eta, r=r, s_noise=1.01), STEPS, noise(99), noise)

    def ancestral(begin: float, end: float) -> tuple[float, float]:
        up = min(end, eta * math.sqrt(end**2 * (begin**2 - end**2) / begin**2))
        return math.sqrt(end**2 - up**2), up

    x = normal(99) * math.sqrt(1.0 + t[0] ** 2)
    for i in range(STEPS):
        image = denoise(x, t[i])
        if t[i + 1] == 0.0:
            x = image
            break
        middle = t[i] ** (1 - r) * t[i + 1] ** r
        # Brownian motion over sigma, in units of its own standard deviation
        first = normal(i)
        part = math.sqrt((t[i] - middle) / (t[i] - t[i + 1]))
        whole = part * first + math.sqrt(1.0 - part**2) * normal(i, "rest")

        down, up = ancestral(t[i], middle)
        inner = down / t[i] * x + (1.0 - down / t[i]) * image + up * 1.01 * first
        mixed = (1.0 - 1.0 / (2.0 * r)) * image + denoise(inner, middle) / (2.0 * r)
        down, up = ancestral(t[i], t[i + 1])
        x = down / t[i] * x + (1.0 - down / t[i]) * mixed + up * 1.01 * whole
        np.testing.assert_allclose(in_sigma(path, i + 1), x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(path.end, x, rtol=1e-5, atol=1e-5)
