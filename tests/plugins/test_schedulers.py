"""The schedulers against diffusers, where diffusers is right, and on their own terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from emnist_diff.errors import ConfigError
from emnist_diff.protocols import NoiseSchedule
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.ddpm import Ddpm

SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2"]


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, prediction, noise = torch.randn(3, 4, 2, 3, generator=torch.Generator().manual_seed(seed))
    return x, prediction, noise


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("beta_schedule", SCHEDULES)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_steps_are_diffusers(kind, beta_schedule, clip, spacing, eta):
    theirs = DDIMScheduler(
        beta_schedule=beta_schedule, prediction_type=kind, clip_sample=clip, timestep_spacing=spacing
    )
    theirs.set_timesteps(20)
    schedule = NoiseSchedule(beta_schedule=beta_schedule)
    ours = Ddim(eta=eta, spacing=spacing, clip=clip).bind(schedule, kind)
    timeline = ours.plan(20)
    assert timeline.timestep.tolist() == theirs.timesteps.tolist()
    for i, t in enumerate(theirs.timesteps):
        if not clip and theirs.alphas_cumprod[t] < 1e-6:
            continue  # a float32 x0 of 1e3 and more cancels to nothing that can be compared
        x, prediction, noise = drawn(i)
        want = theirs.step(prediction, t, x, eta=eta, use_clipped_model_output=clip, variance_noise=noise)
        got = ours.step(prediction, x, timeline.at(i), lambda stream="", noise=noise: noise)
        close(got.x_prev, want.prev_sample)
        close(got.x0, want.pred_original_sample)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [20, 1000])
@pytest.mark.parametrize("beta_schedule", SCHEDULES)
def test_ddpm_steps_are_diffusers(monkeypatch, variance, clip, steps, beta_schedule):
    theirs = DDPMScheduler(
        beta_schedule=beta_schedule, variance_type=variance, clip_sample=clip, timestep_spacing="trailing"
    )
    theirs.set_timesteps(steps)
    ours = Ddpm(variance=variance, clip=clip).bind(NoiseSchedule(beta_schedule=beta_schedule), "epsilon")
    timeline = ours.plan(steps)
    assert timeline.timestep.tolist() == theirs.timesteps.tolist()
    for i in range(0, steps, max(1, steps // 40)):
        t = theirs.timesteps[i]
        if (variance == "fixed_large" and i == steps - 1) or (not clip and theirs.alphas_cumprod[t] < 1e-6):
            continue  # theirs leaves noise in the image; see above
        x, prediction, noise = drawn(i)
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, n=noise, **k: n)
        want = theirs.step(prediction, t, x)
        got = ours.step(prediction, x, timeline.at(i), lambda stream="", noise=noise: noise)
        close(got.x_prev, want.prev_sample)
        close(got.x0, want.pred_original_sample)


@pytest.mark.parametrize("steps", [1000, 50])
def test_ddim_at_eta_1_is_ddpm(steps):
    ddim, ddpm = (s.bind(NoiseSchedule(), "epsilon") for s in (Ddim(eta=1.0), Ddpm()))
    timeline = ddim.plan(steps)
    for i in (1, steps // 3, steps // 2, steps - 2, steps - 1):
        x, prediction, noise = (v.double() for v in drawn(i))
        moved = [s.step(prediction, x, timeline.at(i), lambda stream="", noise=noise: noise) for s in (ddim, ddpm)]
        torch.testing.assert_close(moved[0].x_prev, moved[1].x_prev, rtol=1e-9, atol=1e-9)
        assert torch.equal(moved[0].x0, moved[1].x0)


@pytest.mark.parametrize("scheduler", [Ddim(), Ddpm()])
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("steps", [2, 3, 7, 50, 300, 1000])
def test_a_run_has_as_many_steps_as_were_asked_for(scheduler, spacing, steps):
    timeline = type(scheduler)(spacing=spacing).bind(NoiseSchedule(), "epsilon").plan(steps)
    assert len(timeline) == len(timeline.timestep) == steps
    assert (np.diff(timeline.timestep) < 0).all()
    assert timeline.timestep.min() >= 0
    assert timeline.timestep.max() <= 999
    assert (timeline.alpha_bar_next > timeline.alpha_bar).all()
    assert np.array_equal(timeline.alpha_bar_next[:-1], timeline.alpha_bar[1:])
    assert timeline.alpha_bar_next[-1] == 1.0
    assert timeline.at(0).frac == 0.0
    assert timeline.at(steps - 1).frac == 1.0
    if spacing != "leading":
        assert timeline.timestep[0] == 999


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("scheduler", [Ddim, Ddpm])
def test_one_step_goes_from_noise_to_image(scheduler, spacing):
    bound = scheduler(spacing=spacing).bind(NoiseSchedule(), "sample")
    timeline = bound.plan(1)
    assert timeline.timestep.tolist() == [999.0]
    x, prediction, noise = drawn(0)
    moved = bound.step(prediction, x, timeline.at(0), lambda stream="": noise)
    torch.testing.assert_close(moved.x_prev, prediction.clamp(-1, 1))
    assert timeline.at(0).frac == 0.0


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("scheduler", [Ddim, Ddpm])
def test_more_steps_than_trained_are_refused(scheduler, spacing):
    bound = scheduler(spacing=spacing).bind(NoiseSchedule(train_timesteps=200), "epsilon")
    assert len(bound.plan(200)) == 200
    with pytest.raises(ConfigError, match=r"steps = 201 is more than the 200 timesteps.*1 … 200"):
        bound.plan(201)


@pytest.mark.parametrize("scheduler", [Ddim(eta=0.0), Ddim(eta=0.5), Ddpm(), Ddpm(variance="fixed_large")])
def test_the_last_step_leaves_no_noise(scheduler):
    bound = scheduler.bind(NoiseSchedule(), "epsilon")
    timeline = bound.plan(10)
    x, prediction, _noise = drawn(2)

    def never(stream=""):
        raise AssertionError("noise was drawn at the last step")

    moved = bound.step(prediction, x, timeline.at(9), never)
    torch.testing.assert_close(moved.x_prev, moved.x0)


@pytest.mark.parametrize("scheduler", [Ddim(), Ddpm()])
def test_clipping_is_the_models_range_or_none(scheduler):
    x, prediction, noise = drawn(3)
    for limit in (0.5, 1.0, None):
        bound = scheduler.bind(NoiseSchedule(clip_sample=limit), "epsilon")
        x0 = bound.step(prediction, x, bound.plan(10).at(1), lambda stream="": noise).x0
        assert float(x0.abs().max()) > 1 if limit is None else math.isclose(float(x0.abs().max()), limit)
