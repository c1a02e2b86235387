"""Where steps begin and end."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch

from emnist_diff.errors import ConfigError
from emnist_diff.timeline import FlowSchedule, NoiseSchedule
from emnist_diff_plugins.schedulers._flow import resolution_shift, shifted, stretched
from emnist_diff_plugins.schedulers._process import SPACINGS, Process
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.edm import Edm
from emnist_diff_plugins.schedulers.euler import Euler
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler
from emnist_diff_plugins.schedulers.flow_heun import FlowHeun

LINEAR = NoiseSchedule(beta_schedule="linear")


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 300, 1000])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("beta_schedule", ["linear", "squaredcos_cap_v2"])
def test_a_run_has_as_many_steps_as_were_asked_for(spacing, steps, beta_schedule):
    timeline = Euler(spacing=spacing).bind(NoiseSchedule(beta_schedule=beta_schedule), "epsilon").plan(steps)
    assert len(timeline) == len(timeline.timestep) == steps
    assert (np.diff(timeline.timestep) < 0).all()
    assert timeline.timestep.min() >= 0
    assert timeline.timestep.max() <= 999
    assert (timeline.alpha_bar_next > timeline.alpha_bar).all()
    assert np.array_equal(timeline.alpha_bar_next[:-1], timeline.alpha_bar[1:])
    assert timeline.alpha_bar_next[-1] == 1.0
    assert timeline.at(0).frac == 0.0
    assert steps == 1 or timeline.at(steps - 1).frac == 1.0
    if spacing in ("trailing", "linspace") or (steps == 1 and spacing == "leading"):
        assert timeline.timestep[0] == 999


def test_every_scheduler_runs_the_steps_that_were_asked_for(built_in):
    schedule = FlowSchedule() if built_in.is_flow else LINEAR
    bound = built_in().bind(schedule, "flow" if built_in.is_flow else "v_prediction")
    for steps in (1, 2, 3, 300):
        timeline = bound.plan(steps)
        assert len(timeline) == steps
        assert timeline.alpha_bar_next[-1] == 1.0
        assert np.isfinite(timeline.timestep).all()
        assert (timeline.evaluations >= 1).all()


def test_leading_counts_in_whole_strides_from_its_offset():
    plan = Ddim(spacing="leading", steps_offset=1).bind(LINEAR, "epsilon").plan
    assert plan(300).timestep.tolist() == [3 * i + 1 for i in reversed(range(300))]
    assert plan(50).timestep[[0, -1]].tolist() == [981, 1]
    with pytest.raises(ConfigError, match="cannot lay 1000 different steps over 1000"):
        plan(1000)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_more_steps_than_trained_are_refused(spacing):
    bound = Ddim(spacing=spacing).bind(NoiseSchedule(train_timesteps=200), "epsilon")
    assert len(bound.plan(200)) == 200
    with pytest.raises(ConfigError, match=r"steps = 201 is more than the 200 timesteps.*1 … 200"):
        bound.plan(201)


def test_grids_over_sigma_are_what_they_say():
    ends = {"sigma_min": 0.03, "sigma_max": 14.0}
    karras, exponential = (
        Euler(spacing=spacing, **ends).bind(LINEAR, "epsilon").plan(9).sigma for spacing in ("karras", "exponential")
    )
    u = np.linspace(0, 1, 9)
    np.testing.assert_allclose(karras, (14.0 ** (1 / 7) + u * (0.03 ** (1 / 7) - 14.0 ** (1 / 7))) ** 7, rtol=1e-5)
    np.testing.assert_allclose(exponential, 14.0 * (0.03 / 14.0) ** u, rtol=1e-5)


def test_grids_over_sigma_stay_within_the_process():
    smallest, largest = Process.of(LINEAR).sigma_range
    sigma = Euler(sigma_max=largest).bind(LINEAR, "epsilon").plan(5).sigma
    np.testing.assert_allclose(sigma[[0, -1]], [largest, smallest], rtol=1e-4)
    assert math.isclose(Euler().bind(LINEAR, "epsilon").plan(5).sigma[0], 80.0, rel_tol=1e-4)
    for wrong in ({"sigma_max": 1.01 * largest}, {"sigma_min": 0.99 * smallest}, {"sigma_min": 3.0, "sigma_max": 2.0}):
        with pytest.raises(ConfigError, match="must rise and lie within"):
            Euler(**wrong).bind(LINEAR, "epsilon").plan(5)


def test_the_network_is_told_the_level_that_the_state_has():
    """Also between the timesteps it was trained at, and after they were rounded to float32."""
    process = Process.of(LINEAR)
    timeline = Euler().bind(LINEAR, "epsilon").plan(37)
    assert (timeline.timestep == timeline.timestep.astype(np.float32)).all()
    assert (timeline.timestep % 1 != 0).sum() > 30
    assert np.array_equal(timeline.alpha_bar, process.at(timeline.timestep))


def test_churn_raises_the_levels_of_its_range_alone():
    plain = Edm().bind(LINEAR, "epsilon").plan(18).sigma
    raised = Edm(s_churn=9.0, s_tmin=0.1, s_tmax=10.0).bind(LINEAR, "epsilon").plan(18).sigma
    inside = (plain >= 0.1) & (plain <= 10.0)
    assert 0 < inside.sum() < 18
    np.testing.assert_allclose(raised[inside] / plain[inside], 1.5 - 0.5 * (9 / 18 > 2**0.5 - 1) * (3 - 2 * 2**0.5),
                               rtol=1e-5)  # fmt: skip
    assert np.array_equal(raised[~inside], plain[~inside])


ALIGN_YOUR_STEPS = (999, 845, 730, 587, 443, 310, 193, 116, 53, 13)
"""For SDXL: Sabour, Fidler and Kreis, 2024, arXiv:2404.14507."""


def test_every_scheduler_of_diffusions_takes_a_grid_that_is_written_out(of_diffusions, make_world, drawn):
    world, noise = make_world(), lambda index, stream="": drawn(4, 2, seed=index)
    path = world.walk(of_diffusions(timesteps=ALIGN_YOUR_STEPS), 10, drawn(4, 2, seed=9), noise)
    if "s_churn" not in of_diffusions.label:  # which raises levels
        assert path.timeline.timestep.tolist() == list(ALIGN_YOUR_STEPS)
        assert np.array_equal(path.timeline.alpha_bar, Process.of(world.denoiser.process).at(ALIGN_YOUR_STEPS))
    assert path.timeline.alpha_bar_next[-1] == 1.0
    assert np.isfinite(path.end).all()
    assert np.abs(path.end).max() < 5.0
    with pytest.raises(ConfigError, match=r"timesteps lays 10 steps, and steps = 30 — use --steps 10"):
        of_diffusions(timesteps=ALIGN_YOUR_STEPS).bind(LINEAR, "epsilon").plan(30)


def test_a_written_grid_may_lie_between_the_timesteps_of_the_training():
    timeline = Euler(timesteps=(700.1, 3.25, 0)).bind(LINEAR, "epsilon").plan(3)
    assert timeline.timestep.tolist() == [float(np.float32(700.1)), 3.25, 0.0]
    assert np.array_equal(timeline.alpha_bar, Process.of(LINEAR).at(timeline.timestep))


@pytest.mark.parametrize(
    ("timesteps", "more", "reason"),
    [
        ((), {}, "must fall, to 0 or more"),
        ((5, 5), {}, "must fall"),
        ((3, 8), {}, "must fall"),
        ((8, -1), {}, "must fall, to 0 or more"),
        ((float("inf"), 3), {}, "must fall"),
        ((1e300, 3), {}, "must fall"),
        ((500.000001, 500.0), {}, "must fall"),  # which a network could not tell apart
        ((8, 3), {"spacing": "trailing"}, "spacing shapes a grid, and timesteps is the grid itself — use one of them"),
        ((8, 3), {"rho": 5.0}, "rho shapes a grid"),
        ((8, 3), {"sigma_max": 5.0}, "sigma_max shapes a grid"),
    ],
)
def test_impossible_grids_of_timesteps_are_refused(timesteps, more, reason):
    with pytest.raises(ConfigError, match=reason):
        Euler(timesteps=timesteps, **more)


def test_a_written_grid_stays_within_the_process():
    with pytest.raises(ConfigError, match=r"timesteps starts at 1000, and this model was trained with 0 … 999"):
        Ddim(timesteps=(1000, 3)).bind(LINEAR, "epsilon").plan(2)
    rescaled = Ddim(timesteps=(900, 3), zero_terminal_snr=True).bind(LINEAR, "v_prediction")
    with pytest.raises(ConfigError, match=r"timesteps starts at 900 .* without signal, .* — let it start at 999"):
        rescaled.plan(2)


# ------------------------------------------------------------------ zero terminal signal-to-noise ratio


REACHING = [spacing for spacing in SPACINGS if spacing != "leading"]


def test_every_scheduler_starts_from_no_signal_at_all(of_diffusions, make_world, drawn):
    """Whether the process is without signal there, or the scheduler makes it so; and from there to the same image."""
    world = make_world(prediction="v_prediction", zero_terminal_snr=True)
    noise = lambda index, stream="": drawn(6, 2, seed=index)  # noqa: E731
    ends = []
    for spacing in REACHING:
        path = world.walk(of_diffusions(spacing=spacing, clip=False), 48, drawn(6, 2, seed=99), noise)
        assert path.timeline.alpha_bar[0] == 0.0
        assert path.timeline.timestep[0] == 999.0
        assert (np.diff(path.timeline.timestep) < 0).all()
        assert all(torch.isfinite(state).all() for state in path.states)
        assert np.abs(path.end).max() < 5.0  # means are within 1, the spread is 0.7
        ends.append(path.end)
        for kind, beta_schedule in (("v_prediction", "linear"), ("sample", "squaredcos_cap_v2")):
            plain = NoiseSchedule(beta_schedule=beta_schedule)
            said = of_diffusions(spacing=spacing, zero_terminal_snr=True).bind(plain, kind)
            assert all(said.plan(steps).alpha_bar[0] == 0.0 for steps in (1, 2, 3, 16))
    if not of_diffusions.noisy:
        assert np.abs(np.array(ends) - np.mean(ends, 0)).max() < 0.3
    assert of_diffusions(zero_terminal_snr=True).bind(LINEAR, "v_prediction").plan(12).alpha_bar[0] == 0.0


def test_a_spacing_that_does_not_reach_that_level_is_refused(of_diffusions):
    leading = of_diffusions(spacing="leading", zero_terminal_snr=True).bind(LINEAR, "v_prediction")
    with pytest.raises(ConfigError, match="'leading' does not reach the level without signal"):
        leading.plan(10)
    assert leading.plan(1).alpha_bar[0] == 0.0
    reaching = of_diffusions(spacing="leading", steps_offset=99, zero_terminal_snr=True)
    assert reaching.bind(LINEAR, "v_prediction").plan(10).alpha_bar[0] == 0.0


def test_only_the_first_level_of_a_grid_over_sigma_is_another():
    rescaled = attrs.evolve(LINEAR, zero_terminal_snr=True)
    below = Euler(sigma_max=80.0).bind(rescaled, "v_prediction").plan(10)
    there = Euler().bind(rescaled, "v_prediction").plan(10)
    assert below.alpha_bar[0] > 0.0 == there.alpha_bar[0]
    assert below.alpha_bar[1:].tolist() == there.alpha_bar[1:].tolist()


def test_the_setting_rescales_a_process_that_is_not_yet(make_world):
    world = make_world(prediction="v_prediction")
    plain, rescaled = (
        Ddim(zero_terminal_snr=on).bind(world.denoiser.process, "v_prediction").plan(10) for on in (False, True)
    )
    assert plain.alpha_bar[0] > 0 == rescaled.alpha_bar[0]
    assert abs(plain.alpha_bar[-1] - rescaled.alpha_bar[-1]) < 1e-3


def test_a_prediction_of_noise_is_refused_where_there_is_nothing_else(of_diffusions):
    rescaled = attrs.evolve(LINEAR, zero_terminal_snr=True)
    for spacing in SPACINGS:
        for settings, process in (({"zero_terminal_snr": True}, LINEAR), ({}, rescaled)):
            with pytest.raises(ConfigError, match=r"zero_terminal_snr: .* use a model that predicts v or images"):
                of_diffusions(spacing=spacing, **settings).bind(process, "epsilon")
    below = of_diffusions(spacing="karras", sigma_max=20.0).bind(rescaled, "epsilon").plan(10)
    assert below.sigma[0] > 19.9


def test_settings_that_would_change_nothing_are_refused():
    for settings, message in (
        ({"spacing": "trailing", "sigma_max": 10.0}, "sigma_max shapes spacing karras and exponential, and spacing is"),
        ({"spacing": "linspace", "sigma_min": 0.1}, "sigma_min shapes spacing karras and exponential, and spacing is"),
        ({"spacing": "exponential", "rho": 3.0}, "rho shapes spacing karras, and spacing is 'exponential'"),
        ({"spacing": "karras", "steps_offset": 1}, "steps_offset shapes spacing leading, and spacing is 'karras'"),
        ({"threshold_max": 2.0}, "threshold_max bounds what threshold does"),
        ({"spacing": "karras", "sigma_max": 9.0, "zero_terminal_snr": True}, "and sigma_max elsewhere — use one"),
    ):
        with pytest.raises(ConfigError, match=message):
            Euler(**settings)
    for churn in ({"s_tmin": 0.1}, {"s_tmax": 3.0}, {"s_noise": 1.01}):
        with pytest.raises(ConfigError, match="shape the churn, and there is none — use s_churn"):
            Edm(**churn)
    with pytest.raises(ConfigError, match="threshold_max bounds"):
        FlowEuler(threshold_max=2.0)


# ------------------------------------------------------------------ flows


@pytest.mark.parametrize("shift", [0.3, 1.0, 3.0, 12.0])
def test_shifts_keep_the_ends_and_the_order(shift):
    s = np.linspace(1.0, 0.0, 21)
    out = shifted(s, shift)
    assert out[0] == 1.0
    assert out[-1] == 0.0
    assert (np.diff(out) < 0).all()
    assert ((out > s) == (shift > 1))[1:-1].all()
    if shift == 1.0:
        np.testing.assert_allclose(out, s, rtol=1e-15)


def test_an_exponential_shift_is_a_static_one():
    for mu in (-0.5, 0.0, 1.15, 2.02):
        np.testing.assert_allclose(FlowEuler(mu=mu).grid(9), FlowEuler(shift=math.exp(mu)).grid(9), rtol=1e-15)
        s = 1.0 - np.arange(9) / 9  # as Flux writes it
        np.testing.assert_allclose(FlowEuler(mu=mu).grid(9), math.exp(mu) / (math.exp(mu) + 1 / s - 1), rtol=1e-12)


def test_the_shift_of_a_resolution_is_fluxs():
    assert math.isclose(resolution_shift(256), math.exp(0.5))
    assert math.isclose(resolution_shift(4096), math.exp(1.15))
    assert math.isclose(resolution_shift((256 + 4096) // 2), math.exp((0.5 + 1.15) / 2))
    np.testing.assert_allclose(FlowEuler(tokens=4096).grid(5), FlowEuler(mu=1.15).grid(5))


def test_a_stretched_grid_ends_where_it_is_told():
    out = FlowEuler(mu=2.02, terminal=0.1).grid(10)
    assert out[0] == 1.0
    assert math.isclose(out[-1], 0.1)
    assert (np.diff(out) < 0).all()
    assert stretched(np.array([1.0]), 0.1).tolist() == [1.0]
    assert len(FlowEuler(terminal=0.1).bind(FlowSchedule(), "flow").plan(1)) == 1


def test_a_grid_may_be_written_out():
    distilled = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
    for sigmas in (distilled, distilled[:-1]):
        timeline = FlowEuler(sigmas=sigmas).bind(FlowSchedule(), "flow").plan(8)
        np.testing.assert_allclose(timeline.timestep, 1000 * np.array(distilled[:-1]))
        assert timeline.alpha_bar_next[-1] == 1.0
    with pytest.raises(ConfigError, match=r"sigmas lays 8 steps, and steps = 7 — use --steps 8"):
        FlowEuler(sigmas=distilled).bind(FlowSchedule(), "flow").plan(7)


def test_a_grid_may_end_where_it_is_told_before_its_shift():
    plain = FlowEuler(end=0.25).grid(4)
    np.testing.assert_allclose(plain, [1.0, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(FlowEuler(end=0.25, shift=3).grid(4), shifted(plain, 3.0))
    assert FlowEuler(end=0.25, shift=3).grid(1).tolist() == [1.0]
    for end in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="'end' must be"):
            FlowEuler(end=end)
    with pytest.raises(ConfigError, match="end shapes a grid, and sigmas is the grid itself"):
        FlowEuler(end=0.1, sigmas=(1.0, 0.5))


@pytest.mark.parametrize(
    ("sigmas", "reason"),
    [
        ((1.0, 0.5, 0.5), "must fall"),
        ((1.2, 0.5), "at most 1"),
        ((), "must fall"),
        ((0.0,), "must fall"),
        ((1.0, float("nan")), "must fall"),
        ((1.0, 0.2, -0.1), "stay above 0"),
    ],
)
def test_impossible_grids_are_refused(sigmas, reason):
    with pytest.raises(ConfigError, match=reason):
        FlowEuler(sigmas=sigmas)


def test_one_shift_at_a_time():
    with pytest.raises(ConfigError, match="name one of them"):
        FlowEuler(shift=3.0, mu=1.0)


def test_flow_states_mix_as_flows_do():
    timeline = FlowHeun(shift=2.0).bind(FlowSchedule(), "flow").plan(4)
    for at in (timeline.at(i) for i in range(4)):
        s = at.timestep / 1000
        np.testing.assert_allclose(at.rates, (1 - s, s), atol=1e-12)
    assert timeline.at(0).rates == (0.0, 1.0)
    assert timeline.at(3).rates_next == (1.0, 0.0)
