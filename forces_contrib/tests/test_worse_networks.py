"""Guidance by worse networks against the formulas, and against diffusers' guiders where there are any."""

from __future__ import annotations

import math
from functools import partial

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.conditions import NULL, OWN, Cond, RowConditions, named
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import Evaluations, Labels, WeightedForce, make_plan
from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddim import Ddim

from emnist_diff_forces_contrib.autoguidance import Autoguidance
from emnist_diff_forces_contrib.perturbed_attention import PerturbedAttention
from emnist_diff_forces_contrib.skip_layers import SkipLayers
from emnist_diff_forces_contrib.smoothed_energy import SmoothedEnergy


def close(got, expected, tolerance=1e-5):
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


CASES = [
    (PerturbedAttention(strength=2.5), "attention_identity"),
    (PerturbedAttention(strength=2.5, where="all", target="null"), "attention_identity:all"),
    (SmoothedEnergy(strength=2.5), "attention_blur"),
    (SmoothedEnergy(strength=2.5, sigma=1.5, target="B"), "attention_blur@1.5"),
    (SmoothedEnergy(strength=2.5, sigma=0.7, where="all"), "attention_blur@0.7:all"),
    (SkipLayers(layers=[5, 2], strength=2.5, start=0, stop=1), "skip_layers@36"),
]


@pytest.mark.parametrize(("force", "variant"), CASES, ids=[variant for _, variant in CASES])
def test_attention(unet, walk_with, predicted, force, variant):
    for frame in walk_with({"": unet}, force):
        cond = named(force.target)
        away = predicted({"": unet}, frame, cond) - predicted({"": unet}, frame, attrs.evolve(cond, variant=variant))
        close(frame.group("forces")[0], 2.5 * away)
        close(frame["prediction"], predicted({"": unet}, frame, Cond("own")) + 2.5 * away)
        assert float(away.abs().max()) > 1e-3


def diffusers_guider(name, **settings):
    guiders = pytest.importorskip("diffusers.guiders")
    return getattr(guiders, name)(**settings)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize(
    ("force", "variant", "name", "settings"),
    [
        (PerturbedAttention(strength=2.5), "attention_identity", "PerturbedAttentionGuidance",
         {"perturbed_guidance_scale": 2.5, "perturbed_guidance_start": 0.0, "perturbed_guidance_stop": 1.0,
          "perturbed_guidance_layers": 0}),
        (SmoothedEnergy(strength=2.5), "attention_blur", "SmoothedEnergyGuidance",
         {"seg_guidance_scale": 2.5, "seg_guidance_start": 0.0, "seg_guidance_stop": 1.0, "seg_guidance_layers": 0}),
        (SkipLayers(layers=[2], strength=2.5, start=0, stop=1), "skip_layers@4", "SkipLayerGuidance",
         {"skip_layer_guidance_scale": 2.5, "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 1.0,
          "skip_layer_guidance_layers": 2}),
    ],
)  # fmt: skip
def test_diffusers_agrees_beside_classifier_free_guidance(
    unet, walk_with, predicted, force, variant, name, settings, scale
):
    """With guidance switched off (its scale 1), diffusers starts from the worse prediction unless told to keep to the
    paper's formula, which starts from the good one."""
    guider = diffusers_guider(name, guidance_scale=scale, use_original_formulation=scale == 1.0, **settings)
    if scale == 1.0:
        guider.guidance_scale = 0.0  # in the paper's formula nothing is added at 0
    for frame in walk_with({"": unet}, force, Base("cfg", scale)):
        own, null, worse = (
            predicted({"": unet}, frame, cond) for cond in (OWN, NULL, Cond("own", variant=variant))
        )  # fmt: skip
        close(frame["prediction"], guider.forward(own, null, worse).pred)


def diffusers_network(unet):
    """diffusers' own network with the weights of ours."""
    network = pytest.importorskip("diffusers").UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("AttnDownBlock2D",) * 2,
        up_block_types=("AttnUpBlock2D",) * 2,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=4,
        attention_head_dim=8,
        num_class_embeds=4,
    )
    network.load_state_dict(unet.network.state_dict())
    return network.eval()


def asked_of(network, unet, variant=""):
    """Both networks' answers to one question."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 1, 8, 8))).float()
    t, index = torch.full((3,), 400.0), torch.tensor([0, 3, 1])
    with torch.inference_mode():
        return network(x, t, class_labels=index).sample, unet.predict(x, t, RowConditions(index, variant))


@pytest.mark.parametrize(
    ("places", "variant"),
    [
        (["mid_block.attentions"], "attention_identity"),
        (
            [f"{where}_blocks.{i}.attentions" for where in ("down", "up") for i in (0, 1)] + ["mid_block.attentions"],
            "attention_identity:all",
        ),
    ],
)
def test_diffusers_perturbs_attention_as_we_do(unet, places, variant):
    network, hooks = diffusers_network(unet), pytest.importorskip("diffusers.hooks.layer_skip")
    close(*asked_of(network, unet), 2e-4)
    for number, place in enumerate(places):
        indices = range(len(network.get_submodule(place)))
        config = hooks.LayerSkipConfig(list(indices), place, False, True, False)
        hooks._apply_layer_skip_hook(network, config, name=f"perturbed {number}")
    close(*asked_of(network, unet, variant), 2e-4)


@pytest.mark.parametrize("sigma", [0.4, 1.5, 30.0])
def test_diffusers_blurs_queries_as_we_do_once_its_branches_are_told_apart(unet, sigma):
    """Its blur takes the mean of the queries for a finite sigma, and a Gaussian for an infinite one; the paper, and its
    authors' program, do it the other way round. So its Gaussian is had by calling every sigma infinite."""
    network = diffusers_network(unet)
    hooks = pytest.importorskip("diffusers.hooks.smoothed_energy_guidance_utils")
    query = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 9, 2))).float()
    close(hooks._gaussian_blur_2d(query.clone(), 3, 0.5, 9999.9), query.mean(1, keepdim=True).expand(1, 9, 2))

    size = math.ceil(6 * sigma) + 1 - math.ceil(6 * sigma) % 2

    def blurred(module, arguments, output):
        return hooks._gaussian_blur_2d(output.clone(), size, sigma, 0.0)

    network.mid_block.attentions[0].to_q.register_forward_hook(blurred)
    close(*asked_of(network, unet, f"attention_blur@{sigma}"), 2e-4)


MAIN = GaussianMixture(shape=(3,), classes="ABC", seed=1)
WEAK = attrs.evolve(MAIN, spread=0.6)


@pytest.mark.parametrize("scale", [0.5, 2.0, 3.5])
def test_autoguidance(walk_with, predicted, scale):
    main, weak = MAIN.denoiser(), WEAK.denoiser()
    guider = diffusers_guider("AutoGuidance", guidance_scale=scale, auto_guidance_layers=0, dropout=0.1)
    for frame in walk_with({"": main, "weak": weak}, Autoguidance(scale=scale)):
        good, bad = predicted({"": main}, frame, Cond("own")), predicted({"": weak}, frame, Cond("own"))
        close(frame["prediction"], bad + scale * (good - bad))
        close(frame["prediction"], guider.forward(good, bad).pred)


def test_another_guide_and_target(walk_with, predicted):
    main, other = MAIN.denoiser(), WEAK.denoiser()
    force = Autoguidance(scale=2.0, guide="small", target="null")
    for frame in walk_with({"": main, "small": other}, force, Base("uncond")):
        close(frame["prediction"], 2 * predicted({"": main}, frame, NULL) - predicted({"": other}, frame, NULL))


@pytest.mark.parametrize(("steps", "start", "stop", "acting"), [
    (28, 0.01, 0.2, range(1, 6)), (50, 0.01, 0.2, range(1, 10)), (10, 0, 1, range(10)), (4, 0.5, 0.75, range(2, 3)),
])  # fmt: skip
def test_layers_are_skipped_in_an_interval_of_the_run(given, steps, start, stop, acting):
    force = SkipLayers(layers=[1], start=start, stop=stop)
    for index in range(steps):
        at = given(index=index, steps=steps).step.at
        assert bool(list(force.conditions(at))) == (index in acting) == (not force.idle(at))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": []}, r"layers: expected a list of the numbers of layers, such as \[7, 8, 9\], got \[\]"),
        ({"layers": [-1]}, r"layers: -1 is no layer"),
        ({"layers": [True]}, r"layers: True is no layer"),
        ({"layers": [0, 60]}, r"layers: 0 and 60 are more than 52 apart"),
        ({"layers": [1], "start": 0.5}, r"skip_layers: start = 0.5 must be below stop = 0.2"),
    ],
)
def test_layers_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        SkipLayers(**settings)


NOTHING = [
    SkipLayers(layers=[1], strength=0.0),
    PerturbedAttention(strength=0.0),
    SmoothedEnergy(strength=0.0),
    Autoguidance(scale=1.0),
]


@pytest.mark.parametrize("force", NOTHING)
def test_nothing_is_asked_where_nothing_is_added(walk_with, force):
    main = MAIN.denoiser()
    for frame in walk_with({"": main}, force):
        assert not frame.group("forces")[0].any()
    timeline = Ddim().bind(main.process, main.prediction_type).plan(2)
    evaluations = Evaluations.of(timeline, Base("cond"), [WeightedForce("f", force, lambda at: 1.0)])
    plan = make_plan(evaluations, {"": main.conditions}, Labels((0,), range(1)), 1)
    assert plan.networks == {("", ""): {1: 2}}


@pytest.mark.parametrize("force", [PerturbedAttention, SmoothedEnergy, Autoguidance, partial(SkipLayers, [1])])
def test_unknown_classes_are_refused(force):
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        force(target="Q").bind(MAIN.denoiser().conditions)
