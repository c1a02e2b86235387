"""Whole trajectories against diffusers, given the same grid and the same noise; and where diffusers is not right, what
it does instead.

The network is the exact mixture, asked in float64, so that nothing but the schedulers differs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import AysSchedules

from emnist_diff.steps import SchedulerStep
from emnist_diff.timeline import NoiseSchedule
from emnist_diff_plugins.schedulers._flow import shifted
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.ddpm import Ddpm
from emnist_diff_plugins.schedulers.dpm2 import Dpm2
from emnist_diff_plugins.schedulers.dpmpp_2m import DpmPp2M
from emnist_diff_plugins.schedulers.dpmpp_2m_sde import DpmPp2MSde
from emnist_diff_plugins.schedulers.euler import Euler
from emnist_diff_plugins.schedulers.euler_ancestral import EulerAncestral
from emnist_diff_plugins.schedulers.flow_dpmpp_2m import FlowDpmPp2M
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler
from emnist_diff_plugins.schedulers.flow_heun import FlowHeun
from emnist_diff_plugins.schedulers.heun import Heun
from emnist_diff_plugins.schedulers.lms import Lms
from emnist_diff_plugins.schedulers.unipc import UniPc

STEPS = 20
TRAINED = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02, "timestep_spacing": "trailing"}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers', of NumPy 2


def draws(index: int, stream: str = "") -> torch.Tensor:
    """The noise of a step, float64."""
    assert stream == ""
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(100 + index), dtype=torch.float64)


def start() -> torch.Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def close(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.fixture(scope="module")
def worlds(make_world):
    """The same mixture under every prediction type."""
    return {
        kind: make_world(shape=(3,), classes="ABC", spread=0.4, prediction=kind)
        for kind in ("epsilon", "v_prediction", "sample", "flow")
    }


# ------------------------------------------------------------------ single steps, from any state to any prediction


def one_step(bound, timeline, index: int, given: tuple[torch.Tensor, torch.Tensor, torch.Tensor]):
    """Our step from (x, prediction, noise)."""
    x, prediction, noise = given
    step = SchedulerStep(
        at=timeline.at(index), x=x, labels=torch.zeros(len(x)), sample_ids=range(len(x)), timeline=timeline,
        noise=lambda stream="": noise, evaluate=lambda x, number: x,
    )  # fmt: skip
    return bound.step(prediction, step)


def given(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, prediction, noise = torch.randn(3, 4, 2, 3, generator=torch.Generator().manual_seed(seed))
    return x, prediction, noise


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_steps_with_clipping(kind, beta_schedule, spacing, eta):
    theirs = DDIMScheduler(
        beta_schedule=beta_schedule, prediction_type=kind, clip_sample=True, timestep_spacing=spacing
    )
    theirs.set_timesteps(STEPS)
    bound = Ddim(eta=eta, spacing=spacing).bind(NoiseSchedule(beta_schedule=beta_schedule), kind)
    timeline = bound.plan(STEPS)
    assert timeline.timestep.tolist() == theirs.timesteps.tolist()
    for i, t in enumerate(theirs.timesteps):
        x, prediction, noise = given(i)
        want = theirs.step(prediction, t, x, eta=eta, use_clipped_model_output=True, variance_noise=noise)
        got = one_step(bound, timeline, i, (x, prediction, noise))
        close(got.x_prev.numpy(), want.prev_sample.numpy())
        close(got.x0.numpy(), want.pred_original_sample.numpy())


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("steps", [STEPS, 300, 1000])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_ddpm_steps_with_clipping(monkeypatch, variance, steps, beta_schedule):
    theirs = DDPMScheduler(
        beta_schedule=beta_schedule, variance_type=variance, clip_sample=True, timestep_spacing="trailing"
    )
    theirs.set_timesteps(steps)
    bound = Ddpm(variance=variance).bind(NoiseSchedule(beta_schedule=beta_schedule), "epsilon")
    timeline = bound.plan(steps)
    assert timeline.timestep.tolist() == theirs.timesteps.tolist()
    for i in range(0, steps - 1, max(1, steps // 20)):
        x, prediction, noise = given(i)
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, n=noise, **k: n)
        want = theirs.step(prediction, theirs.timesteps[i], x)
        got = one_step(bound, timeline, i, (x, prediction, noise))
        np.testing.assert_allclose(got.x_prev, want.prev_sample, rtol=1e-4, atol=1e-5 * float(want.prev_sample.max()))
        close(got.x0.numpy(), want.pred_original_sample.numpy())


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
@pytest.mark.parametrize("scheduler", [Ddim, Ddpm, Heun, UniPc, DpmPp2M])
def test_one_step_goes_from_noise_to_image(scheduler, spacing):
    bound = scheduler(spacing=spacing).bind(NoiseSchedule(), "sample")
    timeline = bound.plan(1)
    assert timeline.timestep.tolist() == [999.0]
    x, prediction, noise = given(0)
    moved = one_step(bound, timeline, 0, (x, prediction, noise))
    torch.testing.assert_close(moved.x_prev, prediction.clamp(-1, 1))
    assert timeline.at(0).frac == 0.0


# ------------------------------------------------------------------ states x = signal · x0 + noise · eps on both sides


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim(worlds, kind, eta):
    world, x = worlds[kind], start()
    theirs = DDIMScheduler(**TRAINED, prediction_type=kind, clip_sample=False)
    theirs.set_timesteps(STEPS)
    path = world.walk(Ddim(eta=eta), STEPS, x, draws)
    assert path.timeline.timestep.tolist() == theirs.timesteps.tolist()
    for i, t in enumerate(theirs.timesteps):
        x = theirs.step(world.ask(x, float(t)), int(t), x, eta=eta, variance_noise=draws(i)).prev_sample
        close(path.states[i + 1].numpy(), x.numpy())


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ddpm(worlds, monkeypatch, variance):
    world, x = worlds["epsilon"], start()
    theirs = DDPMScheduler(**TRAINED, variance_type=variance, clip_sample=False)
    theirs.set_timesteps(STEPS)
    path = world.walk(Ddpm(variance=variance), STEPS, x, draws)
    for i, t in enumerate(theirs.timesteps[:-1]):  # theirs leaves the noise of beta in the image; see below
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, i=i, **k: draws(i))
        x = theirs.step(world.ask(x, float(t)), int(t), x).prev_sample
        close(path.states[i + 1].numpy(), x.numpy())
    close(path.end, path.moves[-1].x0.numpy())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (DpmPp2M, DPMSolverMultistepScheduler(**TRAINED, algorithm_type="dpmsolver++")),
        (DpmPp2MSde, DPMSolverMultistepScheduler(**TRAINED, algorithm_type="sde-dpmsolver++")),
        *(
            (
                lambda order=order, variant=variant, **k: UniPc(order=order, variant=variant, **k),
                UniPCMultistepScheduler(**TRAINED, solver_order=order, solver_type=variant),
            )
            for order in (1, 2, 3)
            for variant in ("bh1", "bh2")
        ),
    ],
    ids=["2m", "2m-sde", *(f"unipc-{order}-{variant}" for order in (1, 2, 3) for variant in ("bh1", "bh2"))],
)
def test_solvers_in_log_snr(worlds, kind, ours, theirs):
    world, x = worlds[kind], start()
    path = world.walk(ours(spacing="trailing"), STEPS, x, draws)
    theirs = type(theirs).from_config(theirs.config, prediction_type=kind, final_sigmas_type="zero")
    theirs.set_timesteps(STEPS)
    assert path.timeline.timestep.tolist() == theirs.timesteps.tolist()
    for i, t in enumerate(theirs.timesteps):
        prediction, more = world.ask(x, float(t)), {}
        if isinstance(theirs, DPMSolverMultistepScheduler):
            more["variance_noise"] = draws(i)
        x = theirs.step(prediction, t, x, **more).prev_sample
        if i < STEPS - 1 or theirs.config.solver_type != "bh1":  # theirs is NaN; see below
            close(path.states[i + 1].numpy(), x.numpy())


# ------------------------------------------------------------------ theirs count in sigma: x / signal


@pytest.mark.parametrize("grid", ["StableDiffusionTimesteps", "StableDiffusionXLTimesteps"])
def test_align_your_steps(worlds, grid):
    timesteps = AysSchedules[grid]
    world, x = worlds["epsilon"], start()
    solver = DPMSolverMultistepScheduler(**TRAINED, algorithm_type="dpmsolver++", final_sigmas_type="zero")
    solver.set_timesteps(timesteps=timesteps)
    path = world.walk(DpmPp2M(timesteps=tuple(timesteps)), len(timesteps), x)
    assert path.timeline.timestep.tolist() == solver.timesteps.tolist()
    for i, t in enumerate(solver.timesteps):
        x = solver.step(world.ask(x, float(t)), t, x).prev_sample
        close(path.states[i + 1].numpy(), x.numpy())

    path = world.walk(Euler(timesteps=tuple(timesteps)), len(timesteps), start())
    euler = EulerDiscreteScheduler(**TRAINED)
    euler.set_timesteps(timesteps=timesteps)
    np.testing.assert_allclose(path.timeline.sigma, euler.sigmas[:-1].numpy(), rtol=2e-6)
    x = start() / path.timeline.at(0).rates[0]
    for i, t in enumerate(euler.timesteps):
        x = euler.step(world.ask(euler.scale_model_input(x, t), float(t)), t, x).prev_sample.double()
        close(path.states[i + 1].numpy(), x.numpy() * path.timeline.at(i).rates_next[0])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Euler, EulerDiscreteScheduler),
        (EulerAncestral, EulerAncestralDiscreteScheduler),
        (Heun, HeunDiscreteScheduler),
        (Dpm2, KDPM2DiscreteScheduler),
        (Lms, LMSDiscreteScheduler),
    ],
    ids=["euler", "ancestral", "heun", "dpm2", "lms"],
)
def test_solvers_in_sigma(worlds, monkeypatch, kind, ours, theirs):
    world, x = worlds[kind], start()
    path = world.walk(ours(spacing="trailing"), STEPS, x, draws)
    theirs = theirs(**TRAINED, prediction_type=kind)
    theirs.set_timesteps(STEPS)
    module = "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor"
    monkeypatch.setattr(module, lambda *a, **k: draws(theirs.step_index))
    x = x / path.timeline.at(0).rates[0]
    seen = [x]
    for t in theirs.timesteps:
        prediction = world.ask(theirs.scale_model_input(x, t), float(t))
        x = theirs.step(prediction, t, x).prev_sample.double()
        seen.append(x)
    looks = np.concatenate(([0], path.timeline.evaluations.cumsum()))
    assert looks[-1] == len(theirs.timesteps) == path.asked
    for i in range(STEPS):
        close(path.states[i + 1].numpy(), seen[looks[i + 1]].numpy() * path.timeline.at(i).rates_next[0])


# ------------------------------------------------------------------ flows


@pytest.mark.parametrize(
    ("ours", "theirs", "mu"),
    [
        (FlowEuler(), {}, None),
        (FlowEuler(shift=3.0), {"shift": 3.0}, None),
        (FlowEuler(mu=1.15), {"use_dynamic_shifting": True}, 1.15),
        (FlowEuler(mu=1.15, terminal=0.1), {"use_dynamic_shifting": True, "shift_terminal": 0.1}, 1.15),
    ],
    ids=["plain", "static", "exponential", "terminal"],
)
def test_flow_euler(worlds, ours, theirs, mu):
    world, x = worlds["flow"], start()
    path = world.walk(ours, STEPS, x)
    theirs = FlowMatchEulerDiscreteScheduler(**theirs)
    theirs.set_timesteps(sigmas=[1.0 - i / STEPS for i in range(STEPS)], mu=mu)
    np.testing.assert_allclose(path.timeline.timestep, theirs.timesteps.numpy(), rtol=1e-6)
    for i, t in enumerate(theirs.timesteps):
        x = theirs.step(world.ask(x, float(t)), t, x).prev_sample.double()
        close(path.states[i + 1].numpy(), x.numpy())


@pytest.mark.parametrize(("steps", "shift"), [(1, 3.0), (10, 3.0), (28, 3.0), (28, 1.0), (50, 6.0)])
def test_the_grid_that_flow_euler_of_diffusers_lays_by_itself(steps, shift):
    """As Stable Diffusion 3 has it, with shift 3: `end` is its smallest training level, shifted once already."""
    theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(steps)
    ours = FlowEuler(shift=shift, end=float(shifted(np.array(0.001), shift)))
    np.testing.assert_allclose(ours.grid(steps), theirs.sigmas[:-1].numpy(), rtol=2e-6)
    if shift == 3.0:
        np.testing.assert_allclose(FlowEuler(shift=3.0, end=0.002994).grid(steps), ours.grid(steps), rtol=1e-5)


def test_flow_heun(worlds):
    world, x = worlds["flow"], start()
    theirs = FlowMatchHeunDiscreteScheduler(shift=2.0)
    theirs.set_timesteps(STEPS)
    grid = theirs.sigmas.numpy().astype(np.float64)
    path = world.walk(FlowHeun(sigmas=tuple(grid[:1]) + tuple(grid[1::2])), STEPS, x)
    seen = [x]
    for t in theirs.timesteps:
        x = theirs.step(world.ask(x, float(t)), t, x).prev_sample.double()
        seen.append(x)
    looks = path.timeline.evaluations.cumsum()
    assert looks[-1] == len(theirs.timesteps)
    for i in range(STEPS):
        close(path.states[i + 1].numpy(), seen[looks[i]].numpy())


def test_flow_dpmpp_2m(worlds):
    world, x = worlds["flow"], start()
    theirs = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
    )
    theirs.set_timesteps(STEPS)
    grid = theirs.sigmas.numpy().astype(np.float64)
    path = world.walk(FlowDpmPp2M(sigmas=tuple(grid)), STEPS, x)
    for i, t in enumerate(theirs.timesteps):
        x = theirs.step(world.ask(x, 1000.0 * grid[i]), t, x).prev_sample.double()  # its timesteps are cut to integers
        close(path.states[i + 1].numpy(), x.numpy())


# ------------------------------------------------------------------ where diffusers is not right


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_uneven_steps_do_not_end_where_the_next_begins_in_ddim_of_diffusers(worlds, spacing):
    """The step before is taken as t - 1000 // 300, whatever the grid: a state then carries another noise level than the
    network is told of. Ours ends where the exact ODE does."""
    world, x = worlds["epsilon"], start()
    theirs = DDIMScheduler(**TRAINED | {"timestep_spacing": spacing}, clip_sample=False)
    theirs.set_timesteps(300)
    path = world.walk(Ddim(spacing=spacing), 300, x)
    exact = world.walk(Heun(spacing=spacing), 300, x).end
    assert path.timeline.timestep.tolist() == theirs.timesteps.tolist()
    end = x
    for t in theirs.timesteps:
        end = theirs.step(world.ask(end, float(t)), t, end).prev_sample
    assert np.abs(path.end - exact).max() < 0.02
    assert np.abs(end.numpy() - exact).max() > 3 * np.abs(path.end - exact).max()


def test_unipc_of_the_first_variant_is_not_a_number_at_the_end_in_diffusers(worlds):
    """There, h and with it B(h) = h is infinite, and is multiplied by no correction at all."""
    world, x = worlds["epsilon"], start()
    theirs = UniPCMultistepScheduler(**TRAINED, solver_type="bh1", final_sigmas_type="zero")
    theirs.set_timesteps(STEPS)
    for t in theirs.timesteps:
        x = theirs.step(world.ask(x, float(t)), t, x).prev_sample
    assert torch.isnan(x).all()
    assert np.isfinite(world.walk(UniPc(variant="bh1"), STEPS, start()).end).all()


def test_ddpm_in_diffusers_leaves_noise_in_the_image_with_the_large_variance(worlds, monkeypatch):
    world, x = worlds["epsilon"], start()
    theirs = DDPMScheduler(**TRAINED, variance_type="fixed_large", clip_sample=False)
    theirs.set_timesteps(4)
    noise = torch.ones(6, 3, dtype=torch.float64)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: noise)
    last = theirs.timesteps[-1]
    moved = theirs.step(world.ask(x, float(last)), last, x)
    assert (moved.prev_sample - moved.pred_original_sample).abs().max() > 0.3


def test_flow_euler_in_diffusers_shifts_its_own_grid_twice():
    """Asked for a number of steps, it shifts the ends, and then the grid between the shifted ends once more, so that it
    ends its last step but one elsewhere; and it is not the grid 1 - i/n at any shift."""
    theirs = FlowMatchEulerDiscreteScheduler(shift=3.0)
    theirs.set_timesteps(10)
    ours = FlowEuler(shift=3.0).grid(10)
    assert abs(float(theirs.sigmas[-2]) - 3 * 0.003 / 1.006) < 2e-3  # 1/1000, shifted twice
    assert abs(ours[-1] - 0.3 / 1.2) < 1e-12
