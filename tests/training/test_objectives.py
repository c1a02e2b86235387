"""Objectives against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from emnist_diff.errors import ConfigError
from emnist_diff.parameterization import to_epsilon, to_x0
from emnist_diff.timeline import FlowSchedule
from emnist_diff_plugins.objectives.diffusion import DiffusionObjective
from emnist_diff_plugins.objectives.flow import FlowObjective
from emnist_diff_plugins.training import objective as steps


def drawn(count: int = 3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, count, 4, 4, generator=generator).double()


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_a_network_that_hits_a_diffusions_target_knows_image_and_noise(kind, betas):
    aim = DiffusionObjective(prediction=kind, beta_schedule=betas)
    x0, noise = drawn()
    t = torch.tensor([1, 300, 990])
    x, hit = steps.noised(x0, noise, aim.rates(t)), aim.target(x0, noise, t)
    for row, (signal, sigma) in enumerate(zip(*aim.rates(t), strict=True)):
        level = (float(signal), float(sigma))
        assert math.isclose(level[0] ** 2 + level[1] ** 2, 1.0, abs_tol=1e-6)
        close = {"rtol": 1e-4, "atol": 1e-3 / level[0]}
        torch.testing.assert_close(to_x0(hit[row], x[row], level, kind), x0[row], **close)
        torch.testing.assert_close(
            to_epsilon(hit[row], x[row], level, kind), noise[row], rtol=1e-4, atol=1e-4 / level[1]
        )


def test_noise_levels_are_those_of_the_papers():
    t = torch.tensor([0, 1, 2])
    signal, _ = DiffusionObjective(beta_schedule="linear", train_timesteps=3, beta_start=0.1, beta_end=0.3).rates(t)
    torch.testing.assert_close(signal**2, torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7]))
    signal, _ = DiffusionObjective(train_timesteps=1000).rates(torch.tensor([499]))
    cosine = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert math.isclose(float(signal) ** 2, cosine, rel_tol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_is_one_loss_in_three_units(kind):
    """The weighted error of a network is the weighted error of the x0 that it implies."""
    aim, image = (DiffusionObjective(prediction=k, weighting="min-snr") for k in (kind, "sample"))
    t = torch.tensor([5, 200, 400, 600, 800, 950])
    x0, noise = drawn(len(t))
    x = steps.noised(x0, noise, aim.rates(t))
    wrong = x0 + 0.1 * noise.flip(0)
    signal, sigma = (rate.double().view(-1, 1, 1) for rate in aim.rates(t))
    implied = (x - signal * wrong) / sigma
    error = (aim.target(wrong, implied, t) - aim.target(x0, noise, t)).square().flatten(1).mean(1)
    image_error = (wrong - x0).square().flatten(1).mean(1)
    torch.testing.assert_close(aim.weight(t) * error, image.weight(t) * image_error, rtol=1e-3, atol=1e-5)
    snr = (signal / sigma).flatten().square()
    torch.testing.assert_close(image.weight(t).double(), snr.clamp(max=5.0), rtol=1e-4, atol=1e-7)


def test_a_flow_goes_straight_from_image_to_noise():
    aim = FlowObjective(time_scale=999.0)
    x0, noise = drawn()
    t = 999.0 * torch.tensor([0.0, 0.25, 1.0])
    x = steps.noised(x0, noise, aim.rates(t))
    torch.testing.assert_close(x[0], x0[0])
    torch.testing.assert_close(x[1], 0.75 * x0[1] + 0.25 * noise[1])
    torch.testing.assert_close(x[2], noise[2])
    torch.testing.assert_close(x[1] - 0.25 * aim.target(x0, noise, t)[1], x0[1])
    assert aim.process(1.0) == FlowSchedule(999.0, None)
    assert aim.weight(t) is None


def test_times_of_a_flow_have_the_quantiles_of_their_law():
    count, wanted = 100_000, torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])

    def quantiles(**settings) -> torch.Tensor:
        s = FlowObjective(**settings).timesteps(torch.Generator().manual_seed(0), count) / 1000.0
        assert 0.0 < float(s.min()) <= float(s.max()) <= 1.0
        return s.quantile(wanted)

    torch.testing.assert_close(quantiles(time_sampling="uniform"), wanted, atol=0.01, rtol=0)
    normal = math.sqrt(2) * torch.erfinv(2 * wanted - 1)
    torch.testing.assert_close(quantiles(mean=-0.5, std=0.7), torch.sigmoid(-0.5 + 0.7 * normal), atol=0.01, rtol=0)
    shifted = 3 * wanted / (1 + 2 * wanted)
    torch.testing.assert_close(quantiles(time_sampling="uniform", shift=3.0), shifted, atol=0.01, rtol=0)


def test_what_says_nothing_of_the_image_is_refused():
    with pytest.raises(ConfigError, match="zero_terminal_snr leaves epsilon nothing"):
        DiffusionObjective(prediction="epsilon", zero_terminal_snr=True)
