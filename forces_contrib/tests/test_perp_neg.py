"""Perp-Neg: the formula, sample by sample in float64, and what it never does."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.conditions import NULL, OWN, named
from emnist_diff.errors import ConfigError, UnknownName

from emnist_diff_forces_contrib.perp_neg import PerpNeg

PREDICTIONS = ["epsilon", "v_prediction", "sample", "flow"]


def forces(**settings):
    return [{"name": "perp_neg", **settings}]


def directions(denoiser, ask, frame, *rows):
    """F(c) of the classes with these indices, for three samples each, float64 (3, D)."""
    x = frame["x"].numpy()
    none = ask(denoiser, x, frame.at.timestep, (3, 3, 3)).astype(np.float64)
    return [(ask(denoiser, x, frame.at.timestep, row) - none).reshape(3, -1) for row in rows]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_what_opposes_the_kept_class_is_left_out(walked, assembled, ask, prediction):
    settings = {
        "mixture": {"prediction": prediction},
        "guidance_scale": 2,
        "forces": forces(targets=["B", "C"], weights=[1, 0.5], strength=3),
    }
    denoiser, seen = assembled(**settings).engine.denoisers[""], 0
    for frame in walked(**settings).frames:
        kept, b, c = directions(denoiser, ask, frame, (0, 1, 2), (1, 1, 1), (2, 2, 2))
        got = frame.group("forces")[0].numpy().astype(np.float64).reshape(3, -1)
        for i in range(3):
            if np.linalg.norm(kept[i]) < 1e-2 * np.linalg.norm(b[i] + c[i]):
                continue  # the sample is of its class for certain, and what is left of F is rounding
            seen += 1
            along = np.outer(kept[i], kept[i]) / (kept[i] @ kept[i])
            expected = -3 * (b[i] - along @ b[i] + 0.5 * (c[i] - along @ c[i]))
            np.testing.assert_allclose(got[i], expected, rtol=0, atol=2e-5 * np.abs(b[i]).max() + 1e-6)
            plain = 3 * (np.linalg.norm(b[i]) + 0.5 * np.linalg.norm(c[i]))
            assert abs(got[i] @ kept[i]) <= 1e-4 * plain * np.linalg.norm(kept[i])
    assert seen >= 4


def test_a_class_is_not_taken_from_itself(walked):
    run = walked(mixture={"components": 1}, character="B", total_videos=2, forces=forces(targets=["B"], strength=5))
    scale = np.abs(run.stacked("base")).max()
    assert max(np.abs(frame.group("forces")[0].numpy()).max() for frame in run.frames) < 1e-5 * scale


def test_negation_takes_more_than_what_is_across(walked):
    """`not` against the kept class takes its own direction away; Perp-Neg never does."""
    negation = walked(forces=[{"name": "not", "target": "B", "strength": 3}])
    across = walked(forces=forces(targets=["B"], strength=3))
    for plain, perpendicular in zip(negation.frames[:1], across.frames[:1], strict=True):
        sizes = [frame.group("forces")[0].flatten(1).norm(dim=1) for frame in (plain, perpendicular)]
        assert bool((sizes[1] < sizes[0]).all())
        assert float(sizes[1][1]) < 1e-4 * float(sizes[0][1])  # the sample that is of the class itself


def test_classes_of_weight_zero_are_not_read(given):
    at = given().step.at
    assert list(PerpNeg(["B", "C"], weights=[0, 1]).conditions(at)) == [OWN, NULL, named("C")]
    assert list(PerpNeg(["B", "C"], weights=[0, 0]).conditions(at)) == []
    assert list(PerpNeg(["B"], strength=0).conditions(at)) == []
    assert list(PerpNeg(["B"], keep="A").conditions(at)) == [named("A"), NULL, named("B")]


def test_bad_settings_are_refused(assembled):
    with pytest.raises(ConfigError, match=r"weights: -1 is less than 0"):
        PerpNeg(["B"], weights=[-1])
    for settings in ({"targets": ["Q"]}, {"targets": ["B"], "keep": "Q"}):
        with pytest.raises(UnknownName, match="unknown class 'Q'"):
            assembled(forces=forces(**settings))
