"""Drifts that put something known in the place of the state: the formulas in NumPy, float64, and what they promise."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.errors import ConfigError
from emnist_diff.timeline import StepInfo

from emnist_diff_drifts_contrib.freeze_mask import FreezeMask
from emnist_diff_drifts_contrib.inpaint import Inpaint
from emnist_diff_drifts_contrib.sdedit import SdEdit

IMAGE = np.random.default_rng(9).uniform(-1, 1, (1, 8, 8)).astype(np.float32)
LEFT = np.arange(8) < 4
levels = pytest.mark.parametrize(
    ("path", "kind"),
    [("diffusion", "epsilon"), ("diffusion", "v_prediction"), ("diffusion", "sample"), ("flow", "flow")],
)


@levels
def test_inpaint_is_equation_8_of_repaint(given, save, path, kind):
    there = given(path=path, kind=kind)
    out = there.by(Inpaint(save("image.npy", IMAGE), "left"))
    known = there.signal * IMAGE + there.rest * there.noise()
    np.testing.assert_allclose(out, np.where(LEFT, known, there.after), atol=1e-6)


def test_soft_masks_mix(given, save):
    weight = np.random.default_rng(1).uniform(0, 1, (8, 8))
    there = given()
    out = there.by(Inpaint(save("image.npy", IMAGE), save("mask.npy", weight)))
    known = there.signal * IMAGE + there.rest * there.noise()
    np.testing.assert_allclose(out, weight * known + (1 - weight) * there.after, atol=1e-6)


def test_what_is_known_is_exact_in_the_image(given, save):
    there = given(alpha_bar_next=1.0, index=10)
    out = there.by(Inpaint(save("image.npy", IMAGE), "left"))
    np.testing.assert_allclose(out[..., LEFT], np.broadcast_to(IMAGE, out.shape)[..., LEFT], atol=1e-6)
    assert np.array_equal(out[..., ~LEFT], there.after.astype(np.float32)[..., ~LEFT])


@levels
def test_sdedit_shows_the_noised_image_up_to_its_start(given, save, path, kind):
    image = save("image.npy", IMAGE)
    there = given(path=path, kind=kind)  # step 4 of 11
    noised = there.signal * IMAGE + there.rest * there.noise()
    np.testing.assert_allclose(there.by(SdEdit(image, strength=0.5)), noised, atol=1e-6)  # 5 steps are the model's
    np.testing.assert_allclose(there.by(SdEdit(image, strength=0.7)), there.after, atol=1e-6)  # 7 steps


def test_sdedit_keeps_its_noise(given, save):
    kept = torch.from_numpy(np.random.default_rng(3).normal(size=(3, 1, 8, 8)).astype(np.float32))
    there = given(memory={"noise": kept})
    out = there.by(SdEdit(save("image.npy", IMAGE)))
    np.testing.assert_allclose(out, there.signal * IMAGE + there.rest * kept.numpy(), atol=1e-6)
    assert torch.equal(there.left["noise"], kept)


@pytest.mark.parametrize(("steps", "strength", "own"), [(50, 0.58, 29), (100, 0.29, 29), (10, 0.0, 0), (10, 1.0, 10)])
def test_the_steps_that_are_the_models_are_counted_as_diffusers_counts_them(steps, strength, own):
    drift = SdEdit("example:letter.png", strength=strength)
    before = [drift.before_start(StepInfo(i, steps, 0.0, 0.5, 0.6)) for i in range(steps)]
    assert before == [True] * (steps - own) + [False] * own


def test_the_start_may_be_a_noise_level():
    drift = SdEdit("example:letter.png", sigma=2.0)
    there = [StepInfo(i, 9, 0.0, 0.01, alpha_bar) for i, alpha_bar in enumerate([0.1, 0.2, 0.21, 1.0])]
    assert [at.sigma_next for at in there] == pytest.approx([3.0, 2.0, 1.93956, 0.0], abs=1e-4)
    assert [drift.before_start(attrs.evolve(at)) for at in there] == [True, True, False, False]


def test_sdedit_of_strength_0_gives_the_image_back(given, save):
    there = given(index=10, alpha_bar_next=1.0)
    out = there.by(SdEdit(save("image.npy", IMAGE), strength=0.0))
    np.testing.assert_allclose(out, np.broadcast_to(IMAGE, out.shape), atol=1e-6)


def test_what_is_frozen_stays_to_the_bit(given):
    before = given(index=4)
    assert np.array_equal(before.by(FreezeMask("left", at=0.41)), before.after.astype(np.float32))
    assert before.left == {}
    first = given(index=4)
    frozen = first.by(FreezeMask("left", at=0.4))
    assert np.array_equal(frozen, first.after.astype(np.float32))
    later = given(index=5, after=np.random.default_rng(4).normal(size=(3, 1, 8, 8)), memory=first.left)
    out = later.by(FreezeMask("left", at=0.4))
    np.testing.assert_allclose(out[..., LEFT], frozen[..., LEFT], atol=1e-6)
    np.testing.assert_allclose(out[..., ~LEFT], later.after.astype(np.float32)[..., ~LEFT], atol=0)
    assert torch.equal(later.left["frozen"], first.left["frozen"])


@levels
def test_a_frozen_image_is_shown_at_the_noise_of_each_level(given, path, kind):
    drift = FreezeMask("left", at=0.4, what="image")
    first = given(index=4, path=path, kind=kind)
    np.testing.assert_allclose(first.by(drift), first.after, atol=1e-5)  # at its own level it is what it was
    x0 = (first.after - first.rest * first.epsilon) / first.signal
    later = given(index=5, path=path, kind=kind, alpha_bar_next=0.8, memory=first.left)
    shown = later.signal * x0 + later.rest * first.epsilon
    np.testing.assert_allclose(later.by(drift), np.where(LEFT, shown, later.after), atol=1e-5)
    end = given(index=10, path=path, kind=kind, alpha_bar_next=1.0, memory=first.left)
    np.testing.assert_allclose(end.by(drift)[..., LEFT], x0[..., LEFT], atol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SdEdit("example:letter.png", strength=1.1),
        lambda: SdEdit("example:letter.png", sigma=0.0),
        lambda: FreezeMask(at=-0.1),
    ],
)
def test_ranges(make):
    with pytest.raises((ConfigError, ValueError)):
        make()
