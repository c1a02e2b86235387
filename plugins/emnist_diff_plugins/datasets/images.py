"""What every dataset reader returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import DatasetError


@attrs.frozen(eq=False)
class Images:
    """A labelled image set in memory.

    images: uint8 (N, C, H, W), upright, C 1 (gray) or 3 (RGB).  labels: int64 (N,), indices into `classes`.
    merged: letters without a class of their own → the class that stands for them.
    provenance: JSON-ready; where the images come from, without directories.

    Raises `DatasetError` when they do not fit each other.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    merged: Mapping[str, str] = attrs.field(factory=dict)
    provenance: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DatasetError(f"images must be uint8 (N, 1 or 3, H, W), got {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise DatasetError(
                f"labels must be one int64 an image, got {self.labels.dtype} {self.labels.shape} "
                f"for {len(self.images)} images"
            )
        if len(self.images) == 0 or not self.classes or len(set(self.classes)) != len(self.classes):
            raise DatasetError(f"{len(self.images)} images of classes {self.classes} are no dataset")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise DatasetError(
                f"labels {self.labels.min()} … {self.labels.max()} do not fit the {len(self.classes)} classes"
            )
