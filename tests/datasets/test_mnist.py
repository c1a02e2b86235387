"""MNIST under its original names and those that downloads give it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets.mnist import Mnist

IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


@pytest.fixture
def files(tmp_path: Path, write_idx: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a part: three images that are no mirror of themselves, with labels 7, 0, 9."""

    def write(part: str = "train", within: str = "", joint: str = "-", gz: bool = True) -> Path:
        start, end = tmp_path / within / part, ".gz" if gz else ""
        write_idx(start.with_name(f"{part}-images{joint}idx3-ubyte{end}"), IMAGES)
        return write_idx(start.with_name(f"{part}-labels{joint}idx1-ubyte{end}"), np.array([7, 0, 9]))

    return write


@pytest.mark.parametrize("within", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("joint", ["-", "."])
@pytest.mark.parametrize("gz", [True, False])
def test_names_and_folders(tmp_path, files, within, joint, gz):
    files("t10k", within, joint, gz)
    loaded = Mnist(str(tmp_path), "test").load()
    np.testing.assert_array_equal(loaded.images, IMAGES[:, None])  # upright as stored
    assert loaded.labels.tolist() == [7, 0, 9]
    assert loaded.classes == tuple("0123456789")
    assert loaded.merged == {}
    assert loaded.provenance["part"] == "test"
    assert all(name.startswith("t10k-") and len(digest) == 64 for name, digest in loaded.provenance["files"].items())
    with pytest.raises(DatasetError, match="holds no train-images-idx3-ubyte"):
        Mnist(str(tmp_path)).load()


def test_files_kept_beside_their_gzip_are_one(tmp_path, files):
    files("train", "MNIST/raw", gz=True)
    files("train", "MNIST/raw", gz=False)
    loaded = Mnist(str(tmp_path)).load()
    assert set(loaded.provenance["files"]) == {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"}


def test_several_candidates_are_all_named(tmp_path, files):
    files(joint="-")
    files(joint=".")
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte\.gz, train-images\.idx3-ubyte\.gz — keep one"):
        Mnist(str(tmp_path)).load()


def test_what_is_missing_or_wrong_is_named(tmp_path, files, write_idx):
    with pytest.raises(DatasetError, match="no files are there"):
        Mnist(str(tmp_path)).load()
    labels = files()
    write_idx(labels, np.array([1, 10, 2]))
    with pytest.raises(DatasetError, match=r"train-labels-idx1-ubyte\.gz holds label 10, MNIST has 0 … 9"):
        Mnist(str(tmp_path)).load()
    write_idx(labels, np.array([1, 2]))
    with pytest.raises(DatasetError, match=r"holds 3 images, but train-labels-idx1-ubyte\.gz 2 labels"):
        Mnist(str(tmp_path)).load()
    labels.unlink()
    with pytest.raises(DatasetError, match=r"holds no train-labels-idx1-ubyte.*files there: train-images-idx3-ubyte"):
        Mnist(str(tmp_path)).load()
