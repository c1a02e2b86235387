"""What readers return is checked before anything trains on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emnist_diff.discovery import installed
from emnist_diff.errors import DatasetError
from emnist_diff_plugins.contract import Dataset, DatasetSpec
from emnist_diff_plugins.datasets.images import Images


def images(**change: Any) -> Images:
    fields: dict[str, Any] = {
        "images": np.zeros((2, 1, 3, 3), np.uint8),
        "labels": np.array([0, 1]),
        "classes": ("A", "B"),
        **change,
    }
    return Images(**fields)


def test_what_fits_is_taken():
    assert images(labels=np.array([1, 1]), merged={"a": "A"}, provenance={"reader": "mine"}).merged == {"a": "A"}
    assert images(images=np.zeros((2, 3, 4, 5), np.uint8)).images.shape == (2, 3, 4, 5)


@pytest.mark.parametrize(("change", "said"), [
    ({"images": np.zeros((2, 3, 3), np.uint8)}, r"uint8 \(N, 1 or 3, H, W\), got uint8 \(2, 3, 3\)"),
    ({"images": np.zeros((2, 2, 3, 3), np.uint8)}, r"got uint8 \(2, 2, 3, 3\)"),
    ({"images": np.zeros((2, 1, 3, 3), np.float32)}, "got float32"),
    ({"images": np.zeros((0, 1, 3, 3), np.uint8), "labels": np.zeros(0, np.int64)}, "there is nothing in them"),
    ({"images": np.zeros((2, 1, 0, 3), np.uint8)}, "there is nothing in them"),
    ({"labels": np.array([0, 1, 1])}, r"one int64 an image, got int64 \(3,\) for 2 images"),
    ({"labels": np.array([0, 1], np.uint8)}, "got uint8"),
    ({"labels": np.array([[0], [1]])}, r"got int64 \(2, 1\)"),
    ({"labels": np.array([0, 2])}, "labels 0 … 2 do not fit the 2 classes"),
    ({"labels": np.array([-1, 1])}, "labels -1 … 1 do not fit"),
    ({"classes": ()}, "do not fit the 0 classes"),
    ({"classes": ("A", "A")}, "class 'A' is named twice"),
    ({"classes": ("A", " ")}, "' ' is no name for a class"),
    ({"classes": ("A", "a\nb")}, "is no name for a class"),
    ({"classes": ("A", "\udcff")}, "is no name for a class"),
    ({"merged": {"c": "C"}}, "merged says 'c' → 'C'"),
    ({"merged": {"A": "B"}}, "merged says 'A' → 'B'"),
    ({"provenance": {"folder": Path("data")}}, "provenance cannot be written as JSON"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises(DatasetError, match=said):
        images(**change)


@pytest.mark.parametrize("name", ["emnist", "mnist", "folder"])
def test_every_reader_is_found_by_name_and_fails_by_name(name, tmp_path):
    factory = installed().load(DatasetSpec, name)
    assert isinstance(factory(data=str(tmp_path)), Dataset)
    for part in ("train", "test"):
        with pytest.raises(DatasetError, match=str(tmp_path)):
            factory(data=str(tmp_path), part=part).load()
        with pytest.raises(DatasetError, match="missing"):
            factory(data=str(tmp_path / "missing"), part=part).load()


def test_only_some_classes_are_kept_in_the_order_that_names_them():
    images = Images(
        np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1),
        np.array([0, 1, 2, 0, 2, 1]),
        ("1", "5", "7"),
        {"l": "1", "s": "5"},
        {"reader": "test"},
    )
    kept = images.of_classes("7,1")
    assert kept.classes == ("7", "1")
    assert kept.images.ravel().tolist() == [0, 2, 3, 4]
    assert kept.labels.tolist() == [1, 0, 1, 0]
    assert kept.merged == {"l": "1"}
    assert kept.provenance == {"reader": "test", "images": 4, "only": ["7", "1"]}
    assert images.of_classes(None) is images
    with pytest.raises(DatasetError, match="only: there is no class '8' — classes are 1, 5, 7"):
        images.of_classes("1,8")
