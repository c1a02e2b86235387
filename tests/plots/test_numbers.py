"""The numbers that plots show, against their definitions in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from emnist_diff.errors import TrajectoryError
from emnist_diff.frames import FIELDS
from emnist_diff_plugins.metrics.record import run_name
from emnist_diff_plugins.plots import runs as runs_module
from emnist_diff_plugins.plots.run_distance import distances
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.schedule_overlay import betas
from emnist_diff_plugins.plots.trajectories_pca import plane
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture


def read(path: Path, name: str) -> np.ndarray:
    """A dataset as float64, flat from the third axis on; nothing of the package is used."""
    with h5py.File(path, locking=False) as file:
        values = np.asarray(file[name][...], dtype=np.float64)
    return values.reshape(*values.shape[:2], -1)


CAPTURES = {
    "all": (Capture(), None),
    "half precision": (Capture(dtype="float16"), None),
    "every other step": (Capture(every=2), None),
    "some samples": (Capture(samples=frozenset({0, 2, 5})), None),
    "unfinished": (Capture(), range(4)),
    "with holes": (Capture(), (0, 2, 3, 5)),
}


@pytest.fixture(params=CAPTURES, ids=lambda name: name.replace(" ", "-"))
def file(request: Any, recorded: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six samples; read in blocks of two."""
    capture, committed = CAPTURES[request.param]
    monkeypatch.setattr(runs_module, "_BLOCK", 2 * 7 * 30 * 4)
    return recorded(tmp_path / "t.h5", 6, capture=capture, committed=committed)


def test_displacements_and_norms(file: Path) -> None:
    with Trajectory(file) as trajectory:
        run = Run(trajectory)
        rows = [trajectory.row(p) for p in trajectory.committed if p in trajectory.kept_samples]
        assert len(rows) in (3, 4, 6)
        x = read(file, "trajectory/x")[rows]
        np.testing.assert_allclose(run.latent_l2, ((x[:, 1:] - x[:, :-1]) ** 2).sum(-1) ** 0.5, rtol=1e-5)
        grey = np.rint(np.clip((x.astype(np.float32) + 1) / 2, 0, 1) * 255).astype(np.float64)
        np.testing.assert_allclose(run.pixel_l2, ((grey[:, 1:] - grey[:, :-1]) ** 2).sum(-1) ** 0.5, rtol=1e-6)
        base = read(file, "trajectory/base")[rows]
        np.testing.assert_allclose(run.norms("trajectory/base"), (base**2).sum(-1) ** 0.5, rtol=1e-6)
        for name, norms in zip(trajectory.force_names, run.force_norms(), strict=True):
            push = read(file, f"forces/{name}/contribution")[rows]
            np.testing.assert_allclose(norms, (push**2).sum(-1) ** 0.5, rtol=1e-6)


def test_final_images(file: Path) -> None:
    with Trajectory(file) as trajectory, h5py.File(file, locking=False) as raw:
        flat = raw["images"][...][trajectory.committed].reshape(len(trajectory.committed), -1)
        expected = [flat.mean(1), flat.std(1), flat.min(1), flat.max(1)]
        np.testing.assert_allclose(Run(trajectory).final_pixels, expected, atol=1e-4)


def test_leaning_is_the_class_of_largest_cosine(file: Path) -> None:
    with Trajectory(file) as trajectory:
        run = Run(trajectory)
        rows = [trajectory.row(int(p)) for p in run.positions]
        labels = trajectory.labels[run.positions]
        x, x0 = read(file, "trajectory/x")[rows], read(file, "trajectory/x0")[rows]
        classes, means = run.class_means()
        expected_means = np.stack([x[labels == c, -1].mean(0) for c in np.unique(labels)])
        np.testing.assert_array_equal(classes, np.unique(labels))
        np.testing.assert_allclose(means, expected_means, atol=1e-6)
        centre = expected_means.mean(0)
        expected = np.empty(x0.shape[:2], dtype=int)
        for sample in range(len(rows)):
            for step in range(x0.shape[1]):
                away = x0[sample, step] - centre
                cosines = [
                    away @ (m - centre) / (np.linalg.norm(away) * np.linalg.norm(m - centre)) for m in expected_means
                ]
                expected[sample, step] = int(np.argmax(cosines))
        np.testing.assert_array_equal(run.leaning(means), expected)


@pytest.mark.parametrize("shape", [(1, 6, 5), (7,), (1, 20, 30)], ids=str)
def test_plane_is_that_of_a_singular_value_decomposition(
    shape: tuple[int, ...], recorded: Callable[..., Path], tmp_path: Path
) -> None:
    path = recorded(tmp_path / "t.h5", 6, shape=shape)
    x = read(path, "trajectory/x").astype(np.float32).astype(np.float64)
    scaled = (x / x.std(axis=(0, 2), keepdims=True)).reshape(-1, x.shape[-1])
    centred = scaled - scaled.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ vectors[:2].T
    with Trajectory(path) as trajectory:
        found = plane([Run(trajectory)], 100)
    points = found.points[0].reshape(-1, 2)
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=2e-3)  # up to the sign
    np.testing.assert_allclose(found.explained, values[:2] ** 2 / (values**2).sum(), rtol=1e-4)


def test_plane_of_one_number_a_state(recorded: Callable[..., Path], tmp_path: Path) -> None:
    with Trajectory(recorded(tmp_path / "t.h5", 3, shape=(1,))) as trajectory:
        found = plane([Run(trajectory)], 100)
    assert found.explained == pytest.approx((1.0, 0.0))
    assert not found.points[0][..., 1].any()


def test_plane_takes_evenly_many_samples(many: Path) -> None:
    with Trajectory(many) as trajectory:
        assert plane([Run(trajectory)], 4).positions[0].tolist() == [0, 20, 39, 59]


def test_beta_is_the_share_of_noise_of_a_step(few: Path) -> None:
    with Trajectory(few) as trajectory:
        levels = np.append(trajectory.alpha_bar, 1.0)
        np.testing.assert_allclose(betas(Run(trajectory)), 1 - levels[:-1] / levels[1:])


def test_distances_pair_samples_by_id(recorded: Callable[..., Path], tmp_path: Path) -> None:
    one = recorded(tmp_path / "one.h5", 5, capture=Capture(samples=frozenset({1, 2, 4})), seed=1)
    other = recorded(tmp_path / "other.h5", 4, seed=2)
    with Trajectory(one) as a, Trajectory(other) as b:
        found = distances([Run(a), Run(b)])
        expected = [
            np.sqrt(((b.field("x", p).astype(float) - a.field("x", p)) ** 2).reshape(7, -1).sum(1)) for p in (1, 2)
        ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_measured_times_are_found_by_id(few: Path, recorded: Callable[..., Path], tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.h5")
    (tmp_path / "metrics").mkdir()
    rows = "vid_id,generation_time_sec,gpu_mem_peak_mb\n3,0.5,\n99,7,1\n1,0.25,\nx,y,z\n"
    (tmp_path / "metrics" / "video_metrics.csv").write_text(rows)
    with Trajectory(path) as trajectory:
        measured = Run(trajectory).measured
    assert list(measured) == ["seconds"]
    np.testing.assert_array_equal(measured["seconds"], [np.nan, 0.25, np.nan, 0.5, np.nan])


def test_times_of_another_run_are_not_taken(recorded: Callable[..., Path], tmp_path: Path) -> None:
    """A file made anew beside the tables of the run before it."""
    path = recorded(tmp_path / "t.h5")
    (tmp_path / "metrics").mkdir()
    with Trajectory(path) as trajectory:
        own = run_name(trajectory.config)
        rows = f"vid_id,generation_time_sec,gpu_mem_peak_mb,run\n0,0.5,,{own}\n1,7,,0123456789ab\n"
        (tmp_path / "metrics" / "video_metrics.csv").write_text(rows)
        np.testing.assert_array_equal(Run(trajectory).measured["seconds"], [0.5, *[np.nan] * 4])
        (tmp_path / "metrics" / "video_metrics.csv").write_text(rows.replace(own, "0123456789ab"))
        assert Run(trajectory).measured == {}


def test_what_is_not_finite_is_an_error(recorded: Callable[..., Path], tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.h5")
    with h5py.File(path, "r+") as file:
        file["trajectory/x"][2, 3] = np.nan
    with Trajectory(path) as trajectory, pytest.raises(TrajectoryError, match="trajectory/x is not finite"):
        _ = Run(trajectory).latent_l2


def test_nothing_committed_is_an_error(recorded: Callable[..., Path], tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.h5", committed=())
    with Trajectory(path) as trajectory, pytest.raises(TrajectoryError, match="no committed sample"):
        Run(trajectory)


def test_fields_that_no_committed_sample_has_are_not_held(recorded: Callable[..., Path], tmp_path: Path) -> None:
    path = recorded(tmp_path / "t.h5", capture=Capture(samples=frozenset({4})), committed=range(3))
    with Trajectory(path) as trajectory:
        assert not any(Run(trajectory).holds(field) for field in FIELDS)
