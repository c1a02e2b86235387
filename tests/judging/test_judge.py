"""Judges: exact statistics, a judge that learns and comes back from its file, and the commands that ask one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image

from emnist_diff.discovery import installed
from emnist_diff.errors import CheckpointError, ConfigError, DatasetError, UnknownName
from emnist_diff_plugins.judging import file
from emnist_diff_plugins.judging.reference import Reference, deviation, frechet, moments
from emnist_diff_plugins.judging.report import read_data
from emnist_diff_plugins.judging.scores import nearest, score
from emnist_diff_plugins.judging.training import Exercise, train


def gaussian(seed: int, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    root = draw.normal(size=(width, width))
    return draw.normal(size=width), root @ root.T


def test_the_frechet_distance_is_that_of_the_matrix_square_root():
    (m, s), (n, t) = gaussian(0), gaussian(1)
    exact = np.square(m - n).sum() + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)
    assert frechet(m, s, n, t) == pytest.approx(exact, rel=1e-9)
    assert frechet(m, s, m, s) == pytest.approx(0, abs=1e-9)


def test_the_reference_of_some_classes_is_that_of_their_images_together():
    draw = np.random.default_rng(2)
    features, labels = draw.normal(size=(4000, 5)), np.repeat([0, 1, 2], [1000, 1000, 2000])
    features[labels == 1] += 3.0
    mean, covariance = moments(features, labels, "abc")
    reference = Reference(mean, covariance, np.ones(3), np.ones(3))
    of_two = features[labels < 2]
    found = reference.of_classes(np.array([0.5, 0.5, 0.0]))
    assert np.allclose(found[0], of_two.mean(0))
    assert np.allclose(found[1], np.cov(of_two, rowvar=False), rtol=2e-3, atol=2e-3)


@pytest.fixture(scope="module")
def judge(bars, tmp_path_factory: pytest.TempPathFactory) -> file.Judge:
    trained = train("bars", bars(256, 0), bars(64, 1), Exercise(epochs=4, batch_size=32), lambda n, loss: None)
    path = tmp_path_factory.mktemp("judge") / "bars.safetensors"
    file.save(path, trained)
    return file.load(path)


def test_a_judge_recognises_what_it_learnt_and_sees_what_is_wrong_with_samples(judge, bars):
    assert judge.facts["accuracy"] == 1.0
    real = bars(200, 3)
    names = [real.classes[n] for n in real.labels]
    good = score(judge, real.images, names)
    assert good.recognised == 1.0
    assert good.spread == pytest.approx(1.0, abs=0.1)
    swapped = score(judge, real.images, ["D" if name == "A" else "A" for name in names])
    assert swapped.recognised == 0.0
    one = np.repeat(real.images[real.labels == 0][:1], 100, axis=0)
    collapsed = score(judge, one, ["A"] * 100)
    assert collapsed.recognised == 1.0
    assert collapsed.spread == pytest.approx(0.0, abs=1e-6)
    noise = np.random.default_rng(4).integers(0, 255, real.images.shape).astype(np.uint8)
    assert good.frechet < collapsed.frechet
    assert good.frechet < score(judge, noise, names).frechet
    assert score(judge, one[:1], ["A"]).frechet is None


def test_the_order_of_samples_changes_no_score(judge, bars):
    real = bars(64, 5)
    names = [real.classes[n] for n in real.labels]
    again = score(judge, real.images[::-1].copy(), names[::-1])
    assert again.frechet == pytest.approx(score(judge, real.images, names).frechet, rel=1e-3)


def test_the_nearest_image_is_found(bars):
    real = bars(50, 6).images
    numbers, distances = nearest(real[[7, 3]], real)
    assert numbers.tolist() == [7, 3]
    assert distances == pytest.approx([0, 0], abs=1e-3)
    black, white = np.zeros((1, 1, 4, 4), np.uint8), np.full((1, 1, 4, 4), 255, np.uint8)
    assert nearest(black, white)[1] == pytest.approx([1.0])
    assert deviation(np.concatenate([black, white])) == pytest.approx(0.5)


def test_what_does_not_fit_is_refused(bars, tmp_path):
    with pytest.raises(ConfigError, match="it does not know class 'Q'"):
        file.chosen("mnist", ["Q"], (1, 28, 28))
    with pytest.raises(ConfigError, match="it takes images of 1×28×28, not of 3×8×8"):
        file.chosen("mnist", ["7"], (3, 8, 8))
    with pytest.raises(UnknownName, match="unknown judge 'mnits' — did you mean 'mnist'"):
        file.chosen("mnits", ["7"], (1, 28, 28))
    with pytest.raises(ConfigError, match="no shipped judge knows these classes at 1×28×28"):
        file.chosen(None, ["Ω"], (1, 28, 28))
    assert file.chosen_or_none(None, ["Ω"], (1, 28, 28)) is None
    assert file.chosen(None, ["7"], (1, 28, 28)).name == "mnist"
    (tmp_path / "no.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(CheckpointError, match=r"no\.safetensors"):
        file.load(tmp_path / "no.safetensors")
    with pytest.raises(DatasetError, match="20 images are fewer than a batch of 32"):
        train("few", bars(20, 0), bars(20, 1), Exercise(batch_size=32), lambda n, loss: None)


def test_the_shipped_judges_are_complete():
    for name, path in file.shipped().items():
        judge = file.load(path)
        assert judge.image_shape == (1, 28, 28)
        assert judge.facts["accuracy"] > 0.8, name
        assert (judge.reference.recognised > 0).all()
        assert not judge.network.training
        assert all(torch.isfinite(weight).all() for weight in judge.network.state_dict().values())


def test_the_commands_train_a_judge_and_ask_it(cli, folder, tmp_path):
    judge = tmp_path / "bars.safetensors"
    settings = ("--dataset", "folder", "--data", folder)
    trained = cli("train-judge", *settings, "--epochs", 2, "--batch-size", 16, "--output", judge, "--json")
    assert json.loads(trained.out)["classes"] == 2
    assert cli("train-judge", *settings, "--output", judge).code == 7
    run = cli("run", "--character", "A,D", "--total-videos", 4, "--steps", 3, "--output", tmp_path, "--no-video", "-q")
    assert run.code == 0, run.err
    (recorded,) = tmp_path.glob("*/trajectory.h5")
    asked = cli("judge", recorded, "--judge", judge, *settings, "--json")
    (result,) = json.loads(asked.out)
    assert result["count"] == 4
    assert 0 <= result["recognised"] <= 1
    assert result["nearest"]["least"] > 0
    assert Image.open(result["picture"]).size[0] > 100
    assert "Fréchet" in cli("judge", recorded, "--judge", judge).out
    assert "does not know class 'A'" in cli("judge", recorded, "--judge", "mnist").error


def test_the_files_say_whether_they_are_mnist_where_no_reader_is_named(tmp_path):
    for name, dimensions, values in (("images-idx3", (2, 28, 28), bytes(1568)), ("labels-idx1", (2,), bytes([3, 7]))):
        head = bytes([0, 0, 8, len(dimensions)]) + b"".join(n.to_bytes(4, "big") for n in dimensions)
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(head + values)
    images = read_data(installed(), None, str(tmp_path), "test")
    assert [images.classes[label] for label in images.labels] == ["3", "7"]
    with pytest.raises(DatasetError, match="byclass"):
        read_data(installed(), None, str(tmp_path), "train")
