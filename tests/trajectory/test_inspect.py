"""What inspect tells, and what samples look like."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from emnist_diff.errors import TrajectoryError
from emnist_diff_plugins.commands.strip import RAMP, strip
from emnist_diff_trajectory.pictures import are_pictures
from emnist_diff_trajectory.reader import Trajectory
from emnist_diff_trajectory.schema import Capture
from emnist_diff_trajectory.summary import summary
from emnist_diff_trajectory.writer import TrajectoryWriter


@pytest.fixture
def path(tmp_path, a_run):
    return a_run.record(tmp_path / "t.h5", [[0, 1], [4]])


def test_a_summary_is_of_committed_samples_alone(path, a_run):
    with h5py.File(path, "r+") as file:
        file["trajectory/x"][2:4] = 1e9  # not committed
    with Trajectory(path) as t:
        told = summary(t)
    assert (told["samples"], told["committed"], told["steps"]) == (5, 3, 4)
    assert told["classes"] == ["A", "é"]
    assert told["class_counts"] == {"A": 3, "é": 2}
    assert [row["step"] for row in told["schedule"]["table"]] == [0, 1, 2, 3]
    x = a_run.data([0, 1, 4])["trajectory/x"]
    field = told["fields"]["trajectory/x"]
    assert field["seen"] == x.size
    assert field["mean"] == pytest.approx(x.mean(dtype=np.float64))
    assert field["std"] == pytest.approx(x.std(dtype=np.float64))
    assert (field["min"], field["max"]) == (x.min(), x.max())
    assert field["bytes"] == 5 * 5 * 16 * 4


def test_of_a_large_file_no_more_is_looked_at_than_of_a_small_one(tmp_path, make_run):
    run = make_run(samples=100, steps=60, shape=(1, 16, 16), forces=0)
    with Trajectory(run.record(tmp_path / "t.h5")) as t:
        for name, field in summary(t)["fields"].items():
            assert field["seen"] <= 64 * 256, name


def test_values_that_are_not_finite_are_counted(path):
    with h5py.File(path, "r+") as file:
        file["trajectory/x0"][0, 1, 0, 0, :3] = np.nan
    with Trajectory(path) as t:
        field = summary(t)["fields"]["trajectory/x0"]
    assert field["not_finite"] == 3
    assert np.isfinite(field["mean"])


def test_the_text_says_what_the_summary_knows(cli, path):
    done = cli("inspect", path)
    assert done.code == 0
    for text in ("3 committed of 5", "class A × 3, é × 2", "5×4×1×4×4", "total_videos = 5", "threads = 1", "diffusion"):
        assert text in done.out
    data = json.loads(cli("inspect", path, "--json").out)
    assert data["fields"]["images"]["dtype"] == "uint8"


def test_what_is_kept_is_told(cli, tmp_path, a_run):
    writer = TrajectoryWriter.create(tmp_path / "t.h5", a_run.header, Capture(every=3, samples=102))
    writer.close()
    assert "kept       states of 2 of 4 steps, 2 of 5 samples" in cli("inspect", tmp_path / "t.h5").out


def test_pictures_are_the_states_and_the_last_is_the_image(path):
    with Trajectory(path) as t:
        assert are_pictures(t)
        images = t.pictures(4)
        assert images.shape == (5, 4, 4)
        assert np.array_equal(images[-1], t.images[4])
        expected = np.rint(np.clip((t.x[4, 2, 0] + 1) / 2, 0, 1) * 255)
        assert np.array_equal(t.pictures(4, [2])[0], expected)
        with pytest.raises(TrajectoryError, match="sample 102 is not committed"):
            t.pictures(2)


def test_states_that_are_no_pictures_need_a_codec(tmp_path, make_run):
    run = make_run(shape=(16,), image_shape=(3, 4, 4))
    with Trajectory(run.record(tmp_path / "t.h5")) as t:
        assert not are_pictures(t)
        with pytest.raises(TrajectoryError, match=r"shape \(16,\) are no pictures"):
            t.pictures(0)
        seen = t.pictures(0, [0, 4], lambda states: np.repeat(states.reshape(-1, 1, 4, 4), 3, axis=1))
        assert seen.shape == (2, 4, 4, 3)
        assert np.array_equal(seen[1, ..., 0], np.rint(np.clip(t.x[0, 4].reshape(4, 4), 0, 1) * 255))


def test_images_that_show_something_else_are_not_taken_for_states(path):
    with h5py.File(path, "r+") as file:
        file["images"][...] = 255 - file["images"][...]
    with Trajectory(path) as t:
        assert not are_pictures(t)


def test_a_sample_is_shown_in_a_strip_and_in_a_picture(cli, tmp_path, path, monkeypatch):
    done = cli("inspect", path, "--sample", "104", "--png", tmp_path / "s.png")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "sample 104, class A, steps 0, 1, 2, 3, 4"
    assert len(lines) == 1 + 2 + 1
    assert set("".join(lines[1:3])) <= set(RAMP)
    with Image.open(tmp_path / "s.png") as picture, Trajectory(path) as t:
        pixels = np.asarray(picture)
        assert pixels.shape == (16, 4 * (5 * 4 + 4 * 2))
        assert np.array_equal(pixels[::4, -16::4], t.images[4])
        assert np.array_equal(pixels[::4, :16:4], t.pictures(4, [0])[0])
    assert cli("inspect", path, "--sample", "4").code == 2
    assert cli("inspect", path, "--png", tmp_path / "s.png").code == 2
    assert cli("inspect", path, "--sample", "102").code == 5


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("shape", [(3, 28, 28), (8, 28, 28, 3), (1, 5, 7), (30, 64, 64)])
def test_a_strip_fits_into_its_width(colour, shape):
    images = np.full(shape, 255, np.uint8)
    lines = strip(images, 100, colour)
    for line in lines:
        seen = line
        while "\x1b" in seen:
            start = seen.index("\x1b")
            seen = seen[:start] + seen[seen.index("m", start) + 1 :]
        assert 0 < len(seen) <= 100
        assert set(seen) <= set("▀ " if colour else "@ ")


def test_a_strip_is_upright_and_dark_is_dark():
    image = np.zeros((1, 4, 4), np.uint8)
    image[0, :2, 2:] = 255
    assert strip(image, 10, False) == ["  @@", "    "]
    upper, lower = strip(image, 10, True)
    assert "38;5;255;48;5;255" in upper
    assert "255" not in lower


def test_inspecting_imports_no_torch(process, path):
    done = process("inspect", path, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert "h5py" in done.stderr
    assert "torch" not in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
