"""What guidance does, what a model can do, and where its samples lie: the commands, and their figures."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.analysis.distribution import mapped

RUN = ("--character", "A,D", "--samples", "2", "--steps", "2", "-q")


def test_the_grid_has_a_row_a_class_and_a_column_a_scale(cli, tmp_path):
    arguments = ("--scales", "0,1,3", "--judge", "none", "--output", tmp_path / "grid")
    drawn = cli("cfg-grid", *RUN, *arguments, "--json")
    assert drawn.code == 0, drawn.err
    written = json.loads(drawn.out)["written"]
    assert [path.rpartition("/")[2] for path in written] == ["shipped.png", "curves.png", "cells.csv"]
    rows = list(csv.DictReader((tmp_path / "grid/cells.csv").open()))
    assert [(row["class"], row["scale"]) for row in rows] == [(c, s) for s in "013" for c in "AD"]
    assert all(0 < float(row["diversity"]) < 0.5 and row["recognised"] == "" for row in rows)
    first = {row["scale"]: row["diversity"] for row in rows if row["class"] == "A"}
    assert len(set(first.values())) == 3  # guidance changes the samples, of the same noise
    again = cli("cfg-grid", *RUN, "--scales", "3", "--judge", "none", "--output", tmp_path / "again")
    assert again.code == 0
    alone = list(csv.DictReader((tmp_path / "again/cells.csv").open()))
    assert [row["diversity"] for row in alone] == [row["diversity"] for row in rows if row["scale"] == "3"]
    assert min(Image.open(written[0]).size) > 50
    assert "give different numbers" in cli("cfg-grid", "--scales", "1,1").error
    assert "write numbers with commas between" in cli("cfg-grid", "--scales", "much").error


def test_a_diagnosis_shows_that_the_model_looks_at_the_class(cli, folder, tmp_path):
    settings = ("--dataset", "folder", "--data", folder, "--judge", "none", "--output", tmp_path)
    found = cli("diagnose", *RUN, *settings, "--json")
    assert found.code == 0, found.err
    data = json.loads(found.out)
    noisiest, cleanest = data["levels"][0], data["levels"][-1]
    assert noisiest["noise"] > 0.9 > 0.1 > cleanest["noise"]
    assert noisiest["right"] != noisiest["null"] != noisiest["wrong"]
    assert noisiest["guidance"] > cleanest["guidance"] > 0
    assert len(data["embedding"]["norms"]) == 63
    assert np.diag(data["embedding"]["cosines"]) == pytest.approx(1.0)
    assert data["gradients"]["conv_out"] > 0
    assert data["floor"] is None  # it is a model of pixels
    assert list(data["sampled"]) == ["guided", "conditional", "ddim", "ddpm"]
    assert json.loads((tmp_path / "diagnosis.json").read_text()) == data
    for name in ("overview.png", "samples.png"):
        assert min(Image.open(tmp_path / name).size) > 100


def test_pca_is_that_of_scikit_learn_and_tells_what_is_apart():
    draw = np.random.default_rng(0)
    real, generated = draw.normal(size=(60, 9)), draw.normal(size=(40, 9))
    labels = np.zeros(60, dtype=np.int64)
    plane = mapped("pca", real, generated, labels, ("A",), seed=0)
    exact = PCA(2).fit_transform(np.concatenate([real, generated]))
    assert np.allclose(np.abs(np.concatenate([plane.real, plane.generated])), np.abs(exact))
    assert plane.silhouette == pytest.approx(0, abs=0.05)
    assert mapped("pca", real, generated + 20, labels, ("A",), seed=0).silhouette > 0.7
    once, again = (mapped("tsne", real, generated, labels, ("A",), seed=3) for _ in range(2))
    assert np.array_equal(once.real, again.real)
    with pytest.raises(ConfigError, match="are too few for a map"):
        mapped("pca", real[:1], generated[:0], labels, ("A",), seed=0)


def test_the_map_is_drawn_with_and_without_its_libraries(cli, folder, tmp_path, monkeypatch):
    run = cli("run", "--character", "A", "--total-videos", 3, "--steps", 2, "--output", tmp_path, "--no-video", "-q")
    assert run.code == 0, run.err
    (recorded,) = tmp_path.glob("*/trajectory.h5")
    settings = ("distribution", recorded, "--dataset", "folder", "--data", folder)
    drawn = json.loads(cli(*settings, "--json").out)
    assert len(drawn["generated"]) == 3
    assert -1 <= drawn["silhouette"] <= 1
    assert "use one of umap, tsne, pca" in cli(*settings, "--method", "map").error
    assert "made by a model of pixels" in cli(*settings, "--in", "latents").error
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    assert "not measured, for it needs scikit-learn" in cli(*settings).out
    assert 'pip install "emnist-diff[maps]"' in cli(*settings, "--method", "tsne").error


def test_the_shipped_checkpoints_are_listed_and_taken_by_name(cli, tmp_path):
    listed = json.loads(cli("checkpoints", "--json").out)
    assert [row["checkpoint"] for row in listed if row["default"]] == ["emnist-handwritten"]
    assert "unipc, 10 steps" in cli("checkpoints").out
    for row in listed:
        planned = cli("run", "--checkpoint", row["checkpoint"], "--dry-run", "--output", tmp_path)
        assert planned.code == 0, planned.err
    mistyped = cli("run", "--checkpoint", "emnist-handwriten", "--output", tmp_path)
    assert "did you mean 'emnist-handwritten'?" in mistyped.error
