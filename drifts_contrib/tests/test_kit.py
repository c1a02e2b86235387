"""Every drift of the package holds the rules of the conformance kit, as its docstring's example and in other shapes."""

from __future__ import annotations

import numpy as np
import pytest
from emnist_diff.records import DriftSpec
from emnist_diff.testing import check_drift

from emnist_diff_drifts_contrib import emnist_diff_drifts
from emnist_diff_drifts_contrib.data_consistency import DataConsistency
from emnist_diff_drifts_contrib.freeze_mask import FreezeMask
from emnist_diff_drifts_contrib.inpaint import Inpaint
from emnist_diff_drifts_contrib.langevin import Langevin
from emnist_diff_drifts_contrib.low_pass import LowPass
from emnist_diff_drifts_contrib.sdedit import SdEdit

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
