"""The guiders of diffusers make the same of the same predictions, where they implement the same rule.

They differ in three places. Ours: APG acts on images, as its paper says, and theirs on whatever is predicted, so that
they are given images here. Theirs zeroes the prediction at CFG-Zero*'s first steps, which is no motion only where a
velocity is predicted. FDG wants kornia, whose pyramids take sides that are powers of two. CFG++, the curves of
`dynamic_cfg` and intervals of noise levels have no guider there.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emnist_diff_forces_contrib.adaptive_projected import AdaptiveProjected
from emnist_diff_forces_contrib.cfg_zero_star import CfgZeroStar
from emnist_diff_forces_contrib.frequency_decoupled import FrequencyDecoupled
from emnist_diff_forces_contrib.interval import Interval
from emnist_diff_forces_contrib.rescale import Rescale

guiders = pytest.importorskip("diffusers.guiders", reason="this version of diffusers has no guiders")


def single(values):
    """A float32 tensor, as networks return them."""
    return torch.from_numpy(values.astype(np.float32))


def theirs(name, case, step=2, steps=11, **settings):
    """What a guider makes of the predictions of a case, at a step."""
    guider = getattr(guiders, name, None)
    if guider is None:
        pytest.skip(f"this version of diffusers has no {name}")
    made = guider(**settings)
    made.set_state(step=step, num_inference_steps=steps, timestep=torch.tensor(0))
    return made.forward(single(case.own), single(case.null)).pred.numpy()


@pytest.mark.parametrize("step", range(11))
def test_interval_is_guidance_with_a_start_and_a_stop(given, step):
    """Theirs counts steps: from floor(0.3 · 11) = 3 up to floor(0.8 · 11) = 8."""
    sigma = 10 - step
    case = given(alpha_bar=1 / (1 + sigma**2), index=step)
    got = case.of(Interval(scale=4, low=2, high=7))
    expected = theirs("ClassifierFreeGuidance", case, step, guidance_scale=4.0, start=0.3, stop=0.8)
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8), (16,), (6, 8)])
def test_rescale(given, shape):
    case = given(shape)
    guided = torch.from_numpy((case.null + 4 * (case.own - case.null)).astype(np.float32))
    case = given(shape, score=guided)
    got = guided.numpy() + Rescale(phi=0.6)(case.predictions, case.step).numpy()
    expected = theirs("ClassifierFreeGuidance", case, guidance_scale=4.0, guidance_rescale=0.6)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("kind", "path"), [("epsilon", "diffusion"), ("v_prediction", "diffusion"), ("flow", "flow")])
@pytest.mark.parametrize("step", [0, 1, 5])
def test_cfg_zero_star(given, kind, path, step):
    case = given((1, 8, 8), kind, path, index=step)
    got = case.of(CfgZeroStar(scale=3, zero_steps=1))
    expected = theirs("ClassifierFreeZeroStarGuidance", case, step, guidance_scale=3.0, zero_init_steps=1)
    if kind == "epsilon" and step == 0:
        assert np.abs(got - expected).max() > 0.1  # no noise is a motion, and a large one
    else:
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (16,), (6, 8)])
def test_adaptive_projected_on_images(given, shape):
    """Theirs adds to the conditional prediction, as the paper does, in what it calls the original formulation."""
    made = getattr(guiders, "AdaptiveProjectedGuidance", None)
    if made is None:
        pytest.skip("this version of diffusers has no AdaptiveProjectedGuidance")
    guider = made(
        guidance_scale=4.0,
        adaptive_projected_guidance_momentum=-0.5,
        adaptive_projected_guidance_rescale=2.0,
        eta=0.2,
        use_original_formulation=True,
    )
    force, memory = AdaptiveProjected(scale=5, eta=0.2, momentum=-0.5, threshold=2), {}
    for step in range(3):
        left = {}
        case = given(shape, "sample", seed=step, index=step, memory=memory, remember=left.__setitem__)
        guider.set_state(step=step, num_inference_steps=11, timestep=torch.tensor(0))
        if step == 0:
            guider.prepare_inputs({})  # which makes its buffer
        memory = left
        expected = guider.forward(single(case.own), single(case.null)).pred.numpy()
        np.testing.assert_allclose(case.of(force), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize("scales", [(4.0, 2.0), (6.0, 3.0, 1.5)])
def test_frequency_decoupled(given, shape, scales):
    pytest.importorskip("kornia", reason="FDG of diffusers needs kornia")
    case = given(shape)
    expected = theirs("FrequencyDecoupledGuidance", case, guidance_scales=list(scales))
    np.testing.assert_allclose(case.of(FrequencyDecoupled(scales=scales)), expected, rtol=0, atol=1e-4)
