"""From predictions to images and noise, and the bounds on images."""

from __future__ import annotations

import math
from statistics import NormalDist

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emnist_diff.errors import ConfigError
from emnist_diff.steps import SchedulerStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.schedulers._estimates import X0Rule, thresholded
from emnist_diff_plugins.schedulers.ddim import Ddim


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(
    alpha_bar=st.floats(1e-3, 0.999),
    path=st.sampled_from(["diffusion", "flow"]),
    rule=st.sampled_from(
        [X0Rule(), X0Rule(clip=False), X0Rule(threshold=0.9), X0Rule(threshold=0.5, threshold_max=1.5)]
    ),
    seed=st.integers(0, 1000),
)
def test_bounded_or_not_image_and_noise_make_up_the_state(alpha_bar, path, rule, seed):
    at = StepInfo(0, 2, 500.0, alpha_bar, 1.0, process=path)
    x, prediction = normal(3, 2, 4, seed=seed), normal(3, 2, 4, seed=seed + 1)
    signal, noise = at.rates
    for kind in ("flow", "sample") if path == "flow" else ("epsilon", "v_prediction", "sample"):
        here = rule.estimates(prediction, x, at, kind, 1.0)
        torch.testing.assert_close(signal * here.x0 + noise * here.epsilon, x, rtol=1e-9, atol=1e-9)
        if rule.threshold is not None or rule.clip:
            assert here.x0.abs().max() <= 1.0


def test_clipping_is_the_models_range_or_none(built_in):
    kind = "flow" if built_in.is_flow else "epsilon"
    rule = attrs.evolve(built_in(), clip=True)
    at = StepInfo(0, 2, 500.0, 0.2, 1.0, process="flow" if built_in.is_flow else "diffusion")
    for limit in (0.5, 1.0, None):
        x0 = rule.estimates(normal(4, 50), normal(4, 50, seed=1), at, kind, limit).x0
        assert float(x0.abs().max()) > 1 if limit is None else math.isclose(float(x0.abs().max()), limit)


def test_thresholding_at_percentile_1_leaves_images_within_the_range_alone():
    x0 = normal(5, 3, 4).clamp(-1, 1)
    assert torch.equal(thresholded(x0, 1.0), x0)
    assert not torch.equal(thresholded(1.5 * x0, 1.0), 1.5 * x0)


def test_thresholding_of_states_without_a_range_is_by_what_a_standard_normal_has():
    """Latents have unit variance: such as are drawn so are left alone but for their tails, and stronger ones are scaled
    back to what is usual."""
    rule, bound = X0Rule(threshold=0.9), NormalDist().inv_cdf(0.95)
    usual, strong = normal(1, 4000), 3.0 * normal(1, 4000, seed=1)
    for x0 in (usual, strong):
        s = max(np.quantile(np.abs(x0.numpy()), 0.9), bound)
        expected = np.clip(x0.numpy(), -s, s) * bound / s
        np.testing.assert_allclose(rule.bounded(x0, None), expected, rtol=0, atol=1e-7)
    assert float(rule.bounded(strong, None).abs().max()) == pytest.approx(bound)
    small = 0.5 * normal(1, 50).clamp(-2, 2)
    assert torch.equal(rule.bounded(small, None), small)
    assert torch.equal(X0Rule(threshold=1.0).bounded(strong, None), strong)


def test_thresholding_looks_at_each_sample_alone():
    x0 = normal(4, 1, 6, 6) * torch.tensor([0.2, 1.0, 3.0, 10.0]).view(4, 1, 1, 1)
    together = thresholded(x0, 0.95)
    for i in range(4):
        assert torch.equal(thresholded(x0[i : i + 1], 0.95)[0], together[i])


def test_thresholding_is_saharias():
    x0, p = normal(4, 50) * 2.0, 0.9
    s = np.maximum(np.quantile(np.abs(x0.numpy()), p, axis=1, keepdims=True), 1.0)
    np.testing.assert_allclose(thresholded(x0, p), np.clip(x0.numpy(), -s, s) / s, rtol=1e-12)
    capped = np.minimum(s, 1.5)
    np.testing.assert_allclose(thresholded(x0, p, 1.0, 1.5), np.clip(x0.numpy(), -capped, capped) / capped, rtol=1e-12)
    half = np.maximum(s, 0.5)
    np.testing.assert_allclose(thresholded(x0, p, 0.5), np.clip(x0.numpy(), -half, half) / (2 * half), rtol=1e-12)


def test_thresholding_takes_large_states():
    x0 = torch.ones(1, 1).expand(17, 2**20)  # torch.quantile would refuse
    assert torch.equal(thresholded(x0, 0.995), x0)


def test_impossible_rules_are_refused():
    for wrong in ({"threshold": 0.0}, {"threshold": 1.1}, {"threshold_max": 0.5}):
        with pytest.raises((ValueError, ConfigError)):
            Ddim(**wrong)


def test_the_scheduler_moves_by_the_bounded_image(make_world):
    """With the noise that fits it, not the network's: the state keeps its noise level."""
    world, x = make_world(spread=0.1), 3.0 * normal(4, 2)
    schedule = attrs.evolve(world.denoiser.process, clip_sample=0.2)
    bound = Ddim().bind(schedule, "epsilon")
    at = bound.plan(10).at(5)
    here = bound.settings.estimates(world.ask(x, at.timestep), x, at, "epsilon", 0.2)
    assert here.x0.abs().max() == 0.2
    step = SchedulerStep(
        at=at, x=x, labels=torch.zeros(4), sample_ids=range(4), noise=lambda stream="": x, timeline=bound.plan(2),
        evaluate=lambda x, number: x,
    )  # fmt: skip
    moved = bound.step(world.ask(x, at.timestep), step)
    signal, noise = at.rates_next
    torch.testing.assert_close(moved.x_prev, signal * here.x0 + noise * here.epsilon)
