"""`contrast` against the differences it stands for, with classes, guides and variants on either side."""

from __future__ import annotations

import pytest
import torch
from emnist_diff.conditions import NULL, OWN, Cond
from emnist_diff.errors import ConfigError, UnknownName
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture

from emnist_diff_forces_contrib.autoguidance import Autoguidance
from emnist_diff_forces_contrib.contrast import Contrast
from emnist_diff_forces_contrib.perturbed_attention import PerturbedAttention

MAIN = GaussianMixture(shape=(1, 8, 8), classes="ABC", seed=1).denoiser()
OTHER = GaussianMixture(shape=(1, 8, 8), classes="CABD", seed=2, spread=0.6).denoiser()
GUIDES = {"": MAIN, "weak": OTHER}


@pytest.mark.parametrize(
    ("settings", "a", "b"),
    [
        ({}, OWN, NULL),
        ({"toward": "B", "away": "C"}, Cond("class", "B"), Cond("class", "C")),
        ({"away": "own", "away_guide": "weak"}, OWN, Cond("own", denoiser="weak")),
        ({"away": None, "away_guide": "weak"}, OWN, Cond("null", denoiser="weak")),
        ({"toward": "D", "toward_guide": "weak", "away": "A"}, Cond("class", "D", "weak"), Cond("class", "A")),
    ],
)
def test_the_difference_of_two_predictions(walk_with, predicted, settings, a, b):
    force = Contrast(strength=1.5, **settings)
    largest = 0.0
    for frame in walk_with(GUIDES, force):
        expected = 1.5 * (predicted(GUIDES, frame, a) - predicted(GUIDES, frame, b))
        torch.testing.assert_close(frame.group("forces")[0], expected, rtol=1e-5, atol=1e-5)
        largest = max(largest, float(expected.abs().max()))
    assert largest > 1e-2


def test_it_is_autoguidance_and_perturbed_attention_with_their_settings(walk_with, unet):
    pairs = [
        (GUIDES, Contrast(away="own", away_guide="weak", strength=1.5), Autoguidance(scale=2.5)),
        (
            {"": unet},
            Contrast(away="own", away_variant="attention_identity", strength=2),
            PerturbedAttention(strength=2),
        ),
    ]
    for denoisers, ours, theirs in pairs:
        for one, other in zip(walk_with(denoisers, ours), walk_with(denoisers, theirs), strict=True):
            assert torch.equal(one["prediction"], other["prediction"])
        assert bool(one.group("forces")[0].any())


def test_bad_settings_are_refused_in_one_line(assembled):
    with pytest.raises(ConfigError, match=r"contrast: toward and away are both 'own~attention_blur@2'"):
        Contrast(away="own", toward_variant="attention_blur@2", away_variant="attention_blur@2")
    with pytest.raises(ConfigError, match=r"variant 'a b': write it as NAME"):
        Contrast(away_variant="a b")
    with pytest.raises(UnknownName, match="unknown class 'Q'"):
        Contrast(toward="Q").bind(MAIN.conditions)
    Contrast(toward="D", toward_guide="weak").bind(MAIN.conditions)
    with pytest.raises(UnknownName, match="use --guide weak=FILE"):
        assembled(forces=[{"name": "contrast", "away_guide": "weak"}])
    with pytest.raises(ConfigError, match=r"moves from 'away' to 'toward'"):
        assembled(forces=[{"name": "contrast", "strength": -1}])


def test_nothing_is_read_at_strength_zero(given):
    at = given().step.at
    assert list(Contrast(strength=0).conditions(at)) == []
    assert Contrast(strength=0).idle(at)
