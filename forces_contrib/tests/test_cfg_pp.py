"""CFG++: its step against the algorithm of the paper, written out in float64."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.conditions import NULL, OWN
from emnist_diff.errors import ConfigError

from emnist_diff_forces_contrib.cfg_pp import CfgPp

MODELS = [
    ("epsilon", {}),
    ("v_prediction", {}),
    ("v_prediction", {"zero_terminal_snr": True}),
    ("sample", {}),
    ("flow", {}),
]


def paper(exact, own, null, x, here, there, kind, scale, clip=None):
    """The step of algorithm 2: guided image, unguided noise; (image, next state)."""
    x0, _ = exact.split(null + scale * (own - null), x, here, kind)
    _, noise = exact.split(null, x, here, kind)
    x0 = x0 if clip is None else x0.clip(-clip, clip)
    return x0, there[0] * x0 + there[1] * noise


@pytest.mark.parametrize(("kind", "more"), MODELS, ids=["epsilon", "v", "v, no signal", "sample", "flow"])
@pytest.mark.parametrize("clip", [None, 1.0], ids=["free", "clipped"])
@pytest.mark.parametrize("base", ["cond", "cfg"])
def test_a_walk_is_that_of_the_paper_step_by_step(exact, walked, assembled, ask, kind, more, clip, base):
    """Each recorded state is where the paper's step leads from the one before it."""
    said = {
        "mixture": {"prediction": kind, "shape": [2, 5], **more},
        "base": base,
        "forces": [{"name": "cfg_pp", "scale": 0.4, "clip": clip}],
    }
    engine, run = assembled(**said).engine, walked(**said)
    timeline, denoiser = engine.timeline, engine.denoisers[""]
    states = [*run.stacked("x"), run.x.numpy().astype(np.float64)]
    for index in range(6):
        at, x = timeline.at(index), states[index]
        here, there = exact.rates(at.alpha_bar, at.process), exact.rates(at.alpha_bar_next, at.process)
        own, null = (ask(denoiser, x, at.timestep, index) for index in ((0, 1, 2), (3, 3, 3)))
        _, after = paper(exact, own, null, x, here, there, kind, 0.4, clip)
        np.testing.assert_allclose(states[index + 1], after, rtol=0, atol=2e-4 if index == 0 else 2e-5)


def test_the_recorded_image_estimate_is_that_of_the_larger_scale(exact, walked):
    run = walked(mixture={"prediction": "v_prediction"}, base="cond", forces=[{"name": "cfg_pp", "scale": 0.4}])
    frame = run.frames[2]
    x, prediction = (t.numpy().astype(np.float64) for t in (frame["x"], frame["prediction"]))
    image, _ = exact.split(prediction, x, exact.rates(frame.at.alpha_bar, "diffusion"), "v_prediction")
    np.testing.assert_allclose(frame["x0"].numpy(), image, rtol=0, atol=1e-5)
    scale = 0.4 * frame.at.sigma / (frame.at.sigma - frame.at.sigma_next)
    assert scale > 0.5


def test_the_last_step_is_plain_guidance(given):
    case = given(alpha_bar=0.9, alpha_bar_next=1.0)
    np.testing.assert_allclose(case.of(CfgPp(scale=0.3)), case.null + 0.3 * (case.own - case.null), atol=2e-6)


def test_scale_zero_reads_no_class(given):
    case = given()
    assert list(CfgPp(scale=0).conditions(case.step.at)) == [NULL]
    assert list(CfgPp(scale=1).conditions(case.step.at)) == [NULL, OWN]
    np.testing.assert_allclose(case.of(CfgPp(scale=0)), case.null, atol=1e-6)


def test_schedulers_that_look_twice_are_refused_before_any_work(assembled):
    with pytest.raises(ConfigError, match=r"cfg_pp: .*ddim"):
        assembled(base="cond", scheduler="heun", forces=[{"name": "cfg_pp"}])


@pytest.mark.parametrize("scale", [-0.1, 1.2])
def test_lambda_is_a_share(assembled, scale):
    with pytest.raises(ConfigError, match="scale"):
        assembled(forces=[{"name": "cfg_pp", "scale": scale}])
