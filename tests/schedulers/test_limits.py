"""Where two schedulers must be one and the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.ddpm import Ddpm
from emnist_diff_plugins.schedulers.dpmpp_2m import DpmPp2M
from emnist_diff_plugins.schedulers.dpmpp_2m_sde import DpmPp2MSde
from emnist_diff_plugins.schedulers.edm import Edm
from emnist_diff_plugins.schedulers.euler import Euler
from emnist_diff_plugins.schedulers.euler_ancestral import EulerAncestral
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler
from emnist_diff_plugins.schedulers.heun import Heun
from emnist_diff_plugins.schedulers.lms import Lms


def noise(index: int, stream: str = "") -> torch.Tensor:
    return torch.randn(5, 2, generator=torch.Generator().manual_seed(index), dtype=torch.float64)


def same(world, one, other, steps=15) -> None:
    paths = [world.walk(scheduler, steps, noise(99), noise) for scheduler in (one, other)]
    for a, b in zip(*(path.states for path in paths), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


@pytest.mark.parametrize("steps", [1000, 50, 7])
def test_ddim_at_eta_1_is_ddpm(world, steps):
    same(world, Ddim(eta=1.0), Ddpm(), steps)


@pytest.mark.parametrize("spacing", ["trailing", "karras"])
def test_without_noise_ancestral_is_euler_is_ddim(world, spacing):
    same(world, EulerAncestral(eta=0.0, spacing=spacing), Euler(spacing=spacing))
    same(world, Ddim(spacing=spacing), Euler(spacing=spacing))


def test_ancestral_noise_is_ddims(world):
    same(world, EulerAncestral(eta=1.0, spacing="trailing"), Ddim(eta=1.0))


def test_edm_without_churn_is_heun(world):
    same(world, Edm(), Heun())
    assert not np.allclose(
        world.walk(Edm(s_churn=9.0), 15, noise(99), noise).end, world.walk(Heun(), 15, noise(99)).end
    )


def test_dpmpp_2m_sde_without_noise_is_dpmpp_2m(world):
    same(world, DpmPp2MSde(eta=0.0), DpmPp2M())


def test_lms_of_order_1_is_euler(world):
    same(world, Lms(order=1), Euler())


def test_a_shift_of_1_is_none(make_world):
    world = make_world(prediction="flow")
    same(world, FlowEuler(shift=1.0), FlowEuler())
    same(world, FlowEuler(mu=0.0), FlowEuler())
