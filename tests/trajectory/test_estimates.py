"""What the recorded predictions mean, of every type, beside the closed form of a Gaussian."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import TrajectoryError
from emnist_diff.running.run import run
from emnist_diff.timeline import rates
from emnist_diff_plugins.layers import configure
from emnist_diff_trajectory.merge import merge
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.select import select
from emnist_diff_trajectory.verify import verify

SPREAD = 0.3
MEANS = np.random.default_rng(5).uniform(-1, 1, (2, 1, 6))


def recorded(folder, kind, **more):
    denoiser = {
        "name": "gaussian-mixture", "shape": [6], "classes": ["a;b", "ü"], "components": 1, "spread": SPREAD,
        "means": MEANS.tolist(), "prediction": kind,
    }  # fmt: skip
    scheduler = "flow_euler" if kind == "flow" else "ddim"
    settings = {"denoiser": denoiser, "scheduler": scheduler, "base": "cond", "character": "ü", "steps": 6}
    settings |= {"total_videos": 2, "sinks": ["hdf5", "metadata"], "output": str(folder / kind)}
    return run(configure(installed(), settings | more)[0]).output


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_every_type_of_prediction_means_the_score_of_the_density(tmp_path, kind):
    folder = recorded(tmp_path, kind)
    process = "flow" if kind == "flow" else "diffusion"
    with Trajectory(folder / "trajectory.h5") as t:
        assert (t.prediction_type, t.forward_process, t.classes) == (kind, process, ("a;b", "ü"))
        x, mean = np.asarray(t.x, np.float64)[1, :-1], MEANS[1, 0]
        signal, noise = np.array([rates(a, process) for a in t.alpha_bar]).T[:, :, None]
        score = -(x - signal * mean) / ((signal * SPREAD) ** 2 + noise**2)
        np.testing.assert_allclose(t.score(1), score, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(t.epsilon(1), -noise * score, rtol=2e-4, atol=2e-4)
        gain = signal * SPREAD**2 / ((signal * SPREAD) ** 2 + noise**2)
        np.testing.assert_allclose(t.predicted_x0(1), mean + gain * (x - signal * mean), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(t.predicted_x0(1)[-1], t.x0[1, -1], atol=2e-4)
        assert np.array_equal(t[1].score(4), t.score(1)[4])
        assert np.array_equal(t.epsilon(1, of="base"), t.epsilon(1)), "there is no force"
    said = json.loads((folder / "metadata.json").read_text())
    assert (said["prediction_type"], said["forward_process"]) == (kind, process)


def test_what_predictions_are_goes_along_and_is_needed(cli, tmp_path):
    path = recorded(tmp_path, "v_prediction") / "trajectory.h5"
    with Trajectory(path) as t:
        for number in range(2):
            select(t, np.array([number]), tmp_path / f"{number}.h5")
    merge([tmp_path / "0.h5", tmp_path / "1.h5"], tmp_path / "index.h5")
    with h5py.File(tmp_path / "index.h5") as file:  # by name, for readers without this package
        assert file["trajectory"].attrs["prediction_type"] == "v_prediction"
        assert file["samples/classes"].asstr()[file["samples/label"][0]] == "ü"
    assert "predicts   v_prediction" in cli("inspect", tmp_path / "index.h5").out
    with h5py.File(path, "r+") as file:
        file["trajectory"].attrs["prediction_type"] = "velocity"
    assert [p.where for p in verify(path)] == ["trajectory"]
    with Trajectory(path) as t, pytest.raises(TrajectoryError, match="does not say what its predictions are"):
        t.score(0)


def test_where_nothing_follows_from_a_prediction_there_is_an_error(tmp_path):
    scheduler = {"name": "ddim", "timestep_spacing": "trailing"}
    denoiser = {"name": "gaussian-mixture", "shape": [6], "zero_terminal_snr": True, "prediction": "v_prediction"}
    path = recorded(tmp_path, "v_prediction", scheduler=scheduler, denoiser=denoiser, character="A") / "trajectory.h5"
    with Trajectory(path) as t:
        assert t.alpha_bar[0] == 0
        assert np.array_equal(t.epsilon(0, 0), t.x[0, 0])
        np.testing.assert_array_equal(t.predicted_x0(0, 0), -np.asarray(t.prediction[0, 0], np.float64))
        for step in (-1, 6):
            with pytest.raises(TrajectoryError, match="has steps 0 … 5"):
                t.score(0, step)
    with h5py.File(path, "r+") as file:
        file["trajectory"].attrs["prediction_type"] = "epsilon"
    with Trajectory(path) as t, pytest.raises(TrajectoryError, match="at step 0 there is no signal"):
        t.predicted_x0(0)
