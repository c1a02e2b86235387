"""MNIST in its original IDX files (LeCun, Bottou, Bengio, Haffner, 1998, doi:10.1109/5.726791)."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from emnist_diff.errors import DatasetError
from emnist_diff_plugins.datasets import _files, idx
from emnist_diff_plugins.datasets.images import Images, only_field

CLASSES = tuple(string.digits)

_STARTS = {"train": "train", "test": "t10k"}
_WITHIN = ("raw", "MNIST/raw")
"""Where torchvision puts the files."""


@attrs.frozen
class Mnist:
    """MNIST, or anything else in its files, e.g. ``t10k-images-idx3-ubyte.gz``: ten classes named by digits.

    Files may be gzipped, may be spelled ``t10k-images.idx3-ubyte``, and stand in `data` or its folder ``raw`` or
    ``MNIST/raw``. Images are upright.

    Example: ``emnist-diff train unet2d --dataset mnist --data DIR``
    """

    data: str = attrs.field(metadata={"help": "directory of the files"})
    part: Literal["train", "test"] = attrs.field(default="train", metadata={"help": "train or test"})
    only: str | None = only_field()

    def load(self) -> Images:
        """All images of the part, (N, 1, H, W). Raises `DatasetError` naming the file and what is wrong with it."""
        listing = _files.listing(self.data, *_WITHIN)
        images, labels = self._find(listing, "images", 3), self._find(listing, "labels", 1)
        x, y = idx.read_labelled(images, labels)
        if y.max() >= len(CLASSES):
            raise DatasetError(f"{labels} holds label {y.max()}, MNIST has 0 … {len(CLASSES) - 1}")
        return Images(
            x[:, None],
            y.astype(np.int64),
            CLASSES,
            provenance={
                "reader": "mnist",
                "part": self.part,
                "images": len(x),
                "files": _files.digests([images, labels]),
            },
        ).of_classes(self.only)

    def _find(self, listing: list[Path], what: str, dimensions: int) -> Path:
        start, end = f"{_STARTS[self.part]}-{what}", f"idx{dimensions}-ubyte"
        names = (f"{start}-{end}", f"{start}.{end}")
        path = _files.only([p for p in listing if _files.unzipped(p) in names], names[0], self.data)
        if path is None:
            raise DatasetError(f"{self.data} holds no {names[0]}[.gz] — {_files.shown(listing, self.data)}")
        return path
