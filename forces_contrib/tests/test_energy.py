"""Energies whose guidance is known in closed form."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
from emnist_diff.engine.base import Base
from emnist_diff.engine.plan import WeightedForce
from emnist_diff.engine.state import Batch, Engine
from emnist_diff.engine.walk import walk
from emnist_diff.errors import RunFailed
from emnist_diff.frames import FIELDS
from emnist_diff.parameterization import to_x0
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_plugins.schedulers.ddim import Ddim
from emnist_diff_plugins.schedulers.flow_euler import FlowEuler

from emnist_diff_forces_contrib.energy import Energy, brightness

MEAN, SPREAD = np.array([0.7, -0.4, 0.2]), 0.5
ONE = GaussianMixture(shape=(3,), classes="A", components=1, spread=SPREAD, means=((tuple(MEAN),),))
TARGET = np.array([1.0, 0.0, -1.0])
KINDS = ["epsilon", "v_prediction", "sample", "flow"]


def toward(x, step):
    """½ |x − target|²."""
    return 0.5 * (x - torch.from_numpy(TARGET).to(x.dtype)).square().sum(1)


def walked(force, mixture=ONE, ids=range(4), steps=5, scheduler=None, rows=4):
    denoiser = mixture.denoiser()
    scheduler = scheduler or (FlowEuler() if mixture.prediction == "flow" else Ddim())
    bound = scheduler.bind(denoiser.process, denoiser.prediction_type)
    terms = [WeightedForce("energy", force, lambda at: 1.0)]
    engine = Engine({"": denoiser}, bound, bound.plan(steps), Base("cond"), terms, micro_batch=rows)
    ids = tuple(ids)
    batch = Batch(tuple(range(len(ids))), ids, (0,) * len(ids), (7,) * len(ids))
    return list(walk(engine, batch, lambda at: frozenset(FIELDS)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of", ["x0", "x"])
def test_the_score_is_that_of_the_tilted_density(kind, of):
    """∇ log p − strength ∇E, as x0 = E[x0 | x] shows it: Δx0 = (n² / m) Δscore (Tweedie)."""
    frames = walked(Energy(toward, strength=0.3, of=of), attrs.evolve(ONE, prediction=kind))[:-1]
    for frame in frames:
        m, n = frame.at.rates
        x = frame["x"].numpy().astype(np.float64)
        slope = m * SPREAD**2 / (m**2 * SPREAD**2 + n**2)
        x0 = MEAN + slope * (x - m * MEAN)
        if m == 0:
            continue
        gradient = slope * (x0 - TARGET) if of == "x0" else x - TARGET
        expected = x0 - n**2 / m * 0.3 * gradient
        got = to_x0(frame["prediction"], frame["x"], (m, n), kind).numpy()
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-4 * (1 + np.abs(expected).max()))


@pytest.mark.parametrize("kind", ["sample", "flow"])
def test_where_there_is_no_signal_there_is_no_image_to_ask_about(kind):
    """A flow starts from pure noise."""
    mixture = attrs.evolve(ONE, prediction=kind, zero_terminal_snr=kind == "sample")
    scheduler = FlowEuler() if kind == "flow" else Ddim(spacing="trailing")
    first, second = walked(Energy(toward, strength=0.3), mixture, scheduler=scheduler)[:2]
    assert first.at.alpha_bar == 0
    assert not first.group("forces")[0].any()
    assert second.group("forces")[0].any()


def test_samples_follow_the_product_of_gaussians():
    """With E quadratic in the clean image and the guidance exact for a Gaussian at every level, samples go to the mean
    of p(x) exp(−λ E), (μ / s² + λ target) / (1 / s² + λ), up to what conditioning on the estimate leaves out."""
    strength = 2.0
    end, plain = (
        walked(Energy(toward, strength=s), ids=range(150), steps=40, rows=150)[-1].x.numpy() for s in (strength, 0.0)
    )
    exact = (MEAN / SPREAD**2 + strength * TARGET) / (1 / SPREAD**2 + strength)
    assert np.linalg.norm(end.mean(0) - exact) < 0.5 * np.linalg.norm(plain.mean(0) - exact)
    assert np.abs(plain.mean(0) - MEAN).max() < 4.5 * SPREAD / math.sqrt(150) + 0.05


def test_relative_strength_is_a_share_of_the_base():
    for frame in walked(Energy(toward, strength=0.25, relative=True))[:-1]:
        share = frame.group("forces")[0].norm(dim=1) / frame["base"].norm(dim=1)
        torch.testing.assert_close(share, torch.full((4,), 0.25), rtol=1e-5, atol=1e-6)


def test_neighbours_do_not_matter():
    together = walked(Energy(toward, strength=0.3), ids=range(4))[-1].x
    alone = walked(Energy(toward, strength=0.3), ids=(2,))[-1].x
    assert torch.equal(alone[0], together[2])


def test_the_example():
    dark = walked(Energy(brightness, strength=50.0))[-1].x.mean()
    assert float(dark) < float(walked(Energy(brightness, strength=0.0))[-1].x.mean()) - 0.1


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (lambda x, step: x.sum(), r"the energy has shape \(\) instead of \(4,\), one a sample"),
        (lambda x, step: x.detach().sum(1), "the energy does not depend on its argument"),
        (lambda x, step: 3.0, "the energy is float, no tensor"),
        (lambda x, step: 1 / 0, "ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize("of", ["x0", "x"])
def test_what_is_no_energy(energy, message, of):
    with pytest.raises(RunFailed, match=message):
        walked(Energy(energy, of=of))
