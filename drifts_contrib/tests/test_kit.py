"""Every drift of the package holds the rules of the conformance kit, as its docstring's example and in other shapes."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.records import DriftSpec
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.denoisers.gaussian_mixture import GaussianMixture
from emnist_diff_testing import check_drift
from emnist_diff_testing.drifts import bench, idle

from emnist_diff_drifts_contrib import emnist_diff_drifts
from emnist_diff_drifts_contrib.data_consistency import DataConsistency
from emnist_diff_drifts_contrib.freeze_mask import FreezeMask
from emnist_diff_drifts_contrib.inpaint import Inpaint
from emnist_diff_drifts_contrib.langevin import Langevin
from emnist_diff_drifts_contrib.low_pass import LowPass
from emnist_diff_drifts_contrib.momentum import Momentum
from emnist_diff_drifts_contrib.sdedit import SdEdit
from emnist_diff_drifts_contrib.symmetry import Symmetry

SPECS = {spec.name: spec for spec in emnist_diff_drifts()}


@pytest.mark.parametrize("name", SPECS)
def test_a_drift_holds_the_rules(registry, name):
    check_drift(registry.load(DriftSpec, name))


@pytest.mark.parametrize("shape", [(1, 8, 8), (16,), (6, 8)], ids=str)
def test_drifts_with_files_hold_them_for_states_of_every_shape(save, shape):
    image = save("state.npy", np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32))
    matrix = save("matrix.npy", np.random.default_rng(1).normal(size=(5, int(np.prod(shape)))))
    for drift in (
        Inpaint(image, "left"),
        SdEdit(image, strength=0.5),
        FreezeMask("right", at=0.3, what="image"),
        Langevin(acceptance=True, steps=2),
        DataConsistency(operator="mask", mask="left", image=image),
        DataConsistency(operator="matrix", matrix=matrix, image=image, noise="drawn"),
    ):
        check_drift(drift)


def test_drifts_of_images_hold_them(save):
    image = save("state.npy", np.random.default_rng(0).uniform(-1, 1, (1, 8, 8)).astype(np.float32))
    for drift in (
        LowPass(image, factor=2, kernel="bilinear"),
        DataConsistency(operator="blur", image=image, strength=0.5),
        DataConsistency(operator="down", factor=2, image=image),
    ):
        check_drift(drift)


def test_drifts_whose_settings_change_nothing_say_so(save):
    """And hold to it: where `idle` says so, the state stays as it is."""
    image = save("state.npy", np.random.default_rng(0).uniform(-1, 1, (1, 8, 8)).astype(np.float32))
    run = [StepInfo(i, 6, 999.0 - 150.0 * i, (i + 0.5) / 6, min(1.0, (i + 1.5) / 6)) for i in range(6)]
    for drift, steps in (
        (Symmetry(strength=0), run),
        (DataConsistency(operator="down", factor=2, image=image, strength=0), run),
        (Momentum(beta=0), run),
        (Momentum(), [run[0], run[-1]]),
        (Langevin(), run[-1:]),
        (FreezeMask("left", at=1.0), run),
        (FreezeMask("left", at=1.0, what="image"), run),
        (FreezeMask("left", at=0.5), run[:4]),
        (LowPass(image, factor=2, since=0.3, until=0.35), run),
        (SdEdit(image, strength=1), run),
        (SdEdit(image, sigma=1000.0), run),
    ):
        assert all(drift.idle(at) for at in steps), drift
        watched = bench(drift, models=[GaussianMixture(shape=(1, 8, 8), classes="AB").denoiser()])
        assert watched.calls
        assert list(idle(watched)) == []
    assert not all(FreezeMask("left", at=0.5).idle(at) for at in run[4:])
    assert not any(Momentum().idle(at) for at in run[1:-1])
