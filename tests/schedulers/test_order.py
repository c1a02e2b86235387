"""How fast errors fall with the number of steps, against references that share no code with the schedulers.

Each row names the counts between which its slope is read: high orders show late, and are gone once the first steps of
a multistep method, which are of lower order, are all that is left.
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest

from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.dpm2 import Dpm2
from emnist_diff_plugins.schedulers.dpmpp_2m import DpmPp2M
from emnist_diff_plugins.schedulers.dpmpp_2m_sde import DpmPp2MSde
from emnist_diff_plugins.schedulers.dpmpp_sde import DpmPpSde
from emnist_diff_plugins.schedulers.edm import Edm
from emnist_diff_plugins.schedulers.euler import Euler
from emnist_diff_plugins.schedulers.euler_ancestral import EulerAncestral
from emnist_diff_plugins.schedulers.flow_dpmpp_2m import FlowDpmPp2M
from emnist_diff_plugins.schedulers.flow_edm import FlowEdm
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler
from emnist_diff_plugins.schedulers.flow_euler_ancestral import FlowEulerAncestral
from emnist_diff_plugins.schedulers.flow_heun import FlowHeun
from emnist_diff_plugins.schedulers.flow_midpoint import FlowMidpoint
from emnist_diff_plugins.schedulers.heun import Heun
from emnist_diff_plugins.schedulers.lms import Lms
from emnist_diff_plugins.schedulers.unipc import UniPc

REFERENCE_STEPS = 10_000
GRID = {"spacing": "karras", "sigma_min": 0.05, "sigma_max": 40.0}
MIDDLE, LATE = (36, 54, 80), (80, 120, 180)


def mixture(means: np.ndarray, spread: float, x: np.ndarray, signal: float, noise: float):
    """(E[eps | x], E[x0 | x]) of a mixture in equal parts, x (B, D), means (K, D); signal and noise above 0."""
    away = x[:, None] - signal * means
    variance = signal**2 * spread**2 + noise**2
    share = np.exp(-0.5 * ((away**2).sum(-1) - (away**2).sum(-1).min(1, keepdims=True)) / variance)
    share /= share.sum(1, keepdims=True)
    epsilon = noise / variance * (share[..., None] * away).sum(1)
    x0 = (share[..., None] * (means + signal * spread**2 / variance * away)).sum(1)
    return epsilon, x0


def integrated(slope, x: np.ndarray, begin: float, end: float, bend: float) -> np.ndarray:
    """x' = slope(x, s) from begin to end: Runge and Kutta's fourth-order method, steps crowding toward `end`."""
    u = np.linspace(0.0, 1.0, REFERENCE_STEPS + 1)
    grid = (begin ** (1 / bend) + u * (end ** (1 / bend) - begin ** (1 / bend))) ** bend
    for here, there in itertools.pairwise(grid):
        h, middle = there - here, (here + there) / 2
        k1 = slope(x, here)
        k2 = slope(x + h / 2 * k1, middle)
        k3 = slope(x + h / 2 * k2, middle)
        k4 = slope(x + h * k3, there)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def slope_of(counts, errors) -> float:
    return -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])


def diffusion_in(world):
    """The world, a start, and where the probability-flow ODE takes it by the last noise level."""
    x = np.random.default_rng(0).normal(size=(12, 2))
    sigma = Euler(**GRID).bind(world.denoiser.process, "epsilon").plan(8).sigma
    means = world.family.mean_array()[0]

    def slope(scaled, sigma):
        signal = 1.0 / (1.0 + sigma**2) ** 0.5
        return mixture(means, world.family.spread, scaled * signal, signal, sigma * signal)[0]

    first, last = float(sigma[0]), float(sigma[-1])
    scaled = integrated(slope, x * (1 + first**2) ** 0.5, first, last, 7.0)
    return world, x, scaled / (1 + last**2) ** 0.5


def flow_in(world):
    """The world, a start, and where the flow takes it by s = 0."""
    x = np.random.default_rng(1).normal(size=(12, 2))
    means = world.family.mean_array()[0]

    def slope(x, s):
        epsilon, x0 = mixture(means, world.family.spread, x, 1.0 - s, s)
        return epsilon - x0

    return world, x, integrated(slope, x, 1.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def diffusion(make_world):
    return diffusion_in(make_world())


@pytest.fixture(scope="module")
def flow(make_world):
    return flow_in(make_world(prediction="flow"))


ROWS = {
    "euler": (Euler, 1, MIDDLE),
    "ddim": (Ddim, 1, MIDDLE),
    "euler_ancestral-0": (lambda **k: EulerAncestral(eta=0.0, **k), 1, MIDDLE),
    "heun": (Heun, 2, MIDDLE),
    "edm": (Edm, 2, MIDDLE),
    "dpm2": (Dpm2, 2, MIDDLE),
    "dpmpp_2m": (DpmPp2M, 2, MIDDLE),
    "dpmpp_2m_sde-0": (lambda **k: DpmPp2MSde(eta=0.0, **k), 2, MIDDLE),
    "dpmpp_sde-0": (lambda **k: DpmPpSde(eta=0.0, **k), 2, MIDDLE),
    "unipc-1": (lambda **k: UniPc(order=1, **k), 2, MIDDLE),
    "unipc-1-bh1": (lambda **k: UniPc(order=1, variant="bh1", **k), 2, MIDDLE),
    "unipc-2": (UniPc, 3, MIDDLE),
    "unipc-2-bh1": (lambda **k: UniPc(variant="bh1", **k), 3, LATE),
    "unipc-3": (lambda **k: UniPc(order=3, **k), 4, (16, 20, 24, 30)),
    "lms-2": (lambda **k: Lms(order=2, **k), 2, MIDDLE),
    "lms-3": (lambda **k: Lms(order=3, **k), 3, LATE),
    "lms-4": (Lms, 4, LATE),
}


@pytest.mark.parametrize("row", ROWS)
def test_errors_fall_at_the_order_of_the_scheduler(diffusion, walk_array, row):
    (world, x, exact), (scheduler, order, counts) = diffusion, ROWS[row]
    # the last step, to sigma 0, never shortens: errors are measured before it
    errors = [np.abs(walk_array(world, scheduler(**GRID), n, x).states[-2].numpy() - exact).max() for n in counts]
    assert abs(slope_of(counts, errors) - order) < 0.25
    assert errors[-1] < (0.1 if order == 1 else 0.01)


FLOWS = [
    (FlowEuler, 1),
    (FlowMidpoint, 2),
    (FlowHeun, 2),
    (FlowDpmPp2M, 2),
    (partial(FlowEulerAncestral, eta=0.0), 1),
    (FlowEdm, 2),
]


@pytest.mark.parametrize(("scheduler", "order"), FLOWS)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_errors_of_flows_fall_at_the_order_of_the_scheduler(flow, walk_array, scheduler, order, shift):
    world, x, exact = flow
    counts = (120, 180, 270)
    errors = [np.abs(walk_array(world, scheduler(shift=shift), n, x).end - exact).max() for n in counts]
    if scheduler is FlowDpmPp2M:  # steps of equal s are long in ln SNR near the noise: they add up to ln(n) / n²
        errors = [error / np.log(n) for error, n in zip(errors, counts, strict=True)]
    assert abs(slope_of(counts, errors) - order) < 0.25
    assert errors[-1] < (0.1 if order == 1 else 0.002)
