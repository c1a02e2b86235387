"""Principal components of hidden states: those of scikit-learn, recorded so that states can be had back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff_plugins.analysis.components import Moments, recorded
from emnist_diff_trajectory.reader import Trajectory

NAME = "hidden/mid_block.resnets.1"


def test_components_are_those_of_a_singular_value_decomposition():
    """Also where the mean is a thousand times the deviation, whatever parts the states come in."""
    drawn = np.random.default_rng(4)
    states = drawn.normal(size=(5, 3, 6, 4, 2)) * np.array([9, 5, 3, 2, 1, 0.5])[:, None, None] + 5000
    states = np.einsum("skcyx,cd->skdyx", states, np.linalg.qr(drawn.normal(size=(6, 6)))[0])
    parts = Moments((6, 4, 2))
    for part in (states[:2], states[2:]):
        parts.add(part, 2)
    found = parts.fitted(4)
    flat = np.moveaxis(states, 2, -1).reshape(-1, 6)
    _, values, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.explained, (values**2 / (values**2).sum())[:4], rtol=1e-9)
    np.testing.assert_allclose(np.abs((found.components * axes[:4]).sum(1)), 1, rtol=1e-9)
    assert (found.components[np.arange(4), np.abs(found.components).argmax(1)] > 0).all()
    whole = parts.fitted(6)
    back = np.moveaxis(np.moveaxis(whole.of(states, 2), 2, -1) @ whole.components + whole.mean, -1, 2)
    np.testing.assert_allclose(back, states, rtol=1e-6)


def test_a_file_keeps_components_in_place_of_channels(cli: Any, tmp_path: Path):
    decomposition = pytest.importorskip("sklearn.decomposition")
    run = ("--character", "A", "--total-videos", 2, "--steps", 3, "--sink", "hdf5", "--output", tmp_path)
    assert (done := cli("run", *run)).code == 0, done.error
    path = tmp_path / "A" / "trajectory.h5"
    words = ("attend", path, "--no-attention", "--hidden", "mid_block.resnets.1", "--dtype", "float32")
    assert (done := cli(*words, "--output", tmp_path / "whole.h5")).code == 0, done.error
    for name in ("first.h5", "second.h5"):
        assert (done := cli(*words, "--pca", 5, "--output", tmp_path / name)).code == 0, done.error
    assert cli("verify", tmp_path / "first.h5").code == 0
    with Trajectory(tmp_path / "whole.h5") as whole, Trajectory(tmp_path / "first.h5") as some:
        states, found = whole.activation(NAME)[...], some.activation(NAME)[...]
        facts = some.environment["activations"]["pca"]
    assert found.shape == (*states.shape[:3], 5, *states.shape[4:])
    with Trajectory(tmp_path / "second.h5") as again:
        assert np.array_equal(again.activation(NAME)[...], found)
        assert again.environment["activations"]["pca"] == facts
    components = recorded(facts, NAME)
    flat = np.moveaxis(states, 3, -1).reshape(-1, states.shape[3]).astype(np.float64)
    expected = decomposition.PCA(5, svd_solver="full").fit(flat)
    np.testing.assert_allclose(components.explained, expected.explained_variance_ratio_, rtol=1e-6)
    signs = np.sign((components.components * expected.components_).sum(1))
    np.testing.assert_allclose(components.components, expected.components_ * signs[:, None], atol=1e-5)
    coordinates = np.moveaxis(found, 3, -1).reshape(-1, 5)
    np.testing.assert_allclose(coordinates, expected.transform(flat) * signs, atol=1e-3)
    many = cli(*words, "--pca", 5000, "--output", tmp_path / "many.h5")
    assert many.code == 2
    assert f"--pca 5000: {NAME} has {states.shape[3]} channels — use at most as many" in many.error
    none = cli("attend", path, "--pca", 5, "--output", tmp_path / "none.h5")
    assert none.code == 2
    assert "--pca is of hidden states — name modules with --hidden" in none.error
