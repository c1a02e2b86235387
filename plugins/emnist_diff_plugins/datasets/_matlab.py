"""EMNIST's ``.mat`` files: a structure ``dataset`` with ``train``, ``test`` and ``mapping``.

A part holds ``images``, rows of 784 values in MATLAB's column-major order, and ``labels``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import DatasetError

SIDE = 28
"""Pixels of an image's side; the files store rows of 784 values."""


@attrs.frozen(eq=False)
class Matlab:
    """One part of a file: images (N, 28, 28), transposed as EMNIST stores them; labels (N,) as stored; and the mapping,
    rows of a label and one or two codes of characters, or None."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[Any]
    mapping: npt.NDArray[Any] | None


def read(path: Path, part: str) -> Matlab:
    """The part ``train`` or ``test`` of a file.

    Raises `DatasetError` when SciPy is not installed, and naming the file when it is no such file or damaged.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DatasetError(
            f"reading {path} needs SciPy, which is not installed — pip install 'emnist-diff[mat]', or take IDX files"
        ) from error
    try:
        dataset = loadmat(path, variable_names=["dataset"])["dataset"][0, 0]
        chosen = dataset[part][0, 0]
        images, labels = chosen["images"], chosen["labels"].reshape(-1)
        mapping = dataset["mapping"] if "mapping" in (dataset.dtype.names or ()) else None
    except Exception as error:  # loadmat raises whatever the bytes provoke
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DatasetError(f"{path} is no .mat file of EMNIST with a part {part!r} ({reason})") from error
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != SIDE * SIDE or not len(images):
        raise DatasetError(f"{path} holds {part} images {images.dtype} {images.shape}, not uint8 rows of {SIDE * SIDE}")
    if len(images) != len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise DatasetError(f"{path} holds {len(images)} {part} images, but {len(labels)} labels of type {labels.dtype}")
    if mapping is not None and not np.issubdtype(mapping.dtype, np.integer):
        raise DatasetError(f"{path} holds a mapping of {mapping.dtype}, not of labels and characters' codes")
    return Matlab(np.ascontiguousarray(images).reshape(-1, SIDE, SIDE), labels, mapping)
