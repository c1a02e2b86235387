"""Guidance rescale: the formula, sample by sample, on whatever stands before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emnist_diff_forces_contrib.rescale import Rescale

SHAPES = [(1, 8, 8), (16,), (6, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("phi", [0.0, 0.7, 1.0])
def test_each_sample_gets_the_contrast_of_its_class(given, shape, phi):
    score = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 3.0, 9.0]).view(
        -1, *(1,) * len(shape)
    )
    case = given(shape, score=score)
    got = score.numpy() + Rescale(phi=phi)(case.predictions, case.step).numpy()
    for sample in range(3):
        e = score[sample].numpy().astype(np.float64)
        rescaled = e * case.own[sample].std() / e.std()
        np.testing.assert_allclose(got[sample], phi * rescaled + (1 - phi) * e, rtol=0, atol=5e-6)


def test_what_has_no_contrast_is_left_alone(given):
    case = given(score=torch.full((3, 1, 8, 8), 2.0))
    assert torch.equal(Rescale()(case.predictions, case.step), torch.zeros(3, 1, 8, 8))


def test_it_reads_the_sum_of_base_and_forces_before_it(walked, assembled, ask):
    pull = {"name": "attract_class", "target": "B", "strength": 2}
    said = {"guidance_scale": 4, "forces": [pull, {"name": "rescale", "phi": 1}]}
    denoiser = assembled(**said).engine.denoisers[""]
    for frame in walked(**said).frames:
        before = (frame["base"] + frame.group("forces")[0]).numpy()
        own = ask(denoiser, frame["x"].numpy().astype(np.float64), frame.at.timestep, (0, 1, 2))
        for sample in range(3):
            expected = before[sample] * own[sample].std() / before[sample].std()
            np.testing.assert_allclose(frame["prediction"][sample].numpy(), expected, rtol=0, atol=1e-5)
