"""Bars across (A) and down (D), as images and as a folder of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emnist_diff_plugins.datasets.images import Images


def bars(count: int, seed: int, side: int = 28) -> Images:
    """Images of one bright bar, across (A) or down (D)."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, count)
    images = draw.integers(0, 40, (count, 1, side, side)).astype(np.uint8)
    for image, label, place in zip(images, labels, draw.integers(6, side - 6, count), strict=True):
        if label:
            image[0, :, place : place + 3] = 255
        else:
            image[0, place : place + 3] = 255
    return Images(images, labels.astype(np.int64), ("A", "D"))


@pytest.fixture(name="bars", scope="session")
def _bars():
    return bars


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, in folders that the reader ``folder`` takes."""
    root = tmp_path_factory.mktemp("folder")
    for part, count in (("train", 140), ("test", 30)):
        images = bars(count, count)
        for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
            place = root / part / images.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(place / f"{number}.png")
    return root
