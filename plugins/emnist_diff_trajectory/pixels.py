"""From states and decoded images to the pixels that files and viewers hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # readers of trajectory files need no torch
    from torch import Tensor

Pixels = npt.NDArray[np.uint8]

Numbers = TypeVar("Numbers", "Tensor", "npt.NDArray[Any]")


def as_images(states: Numbers) -> Numbers:
    """States that are pictures as they are, [-1, 1] from black to white, as images in [0, 1]; any shape."""
    return ((states + 1.0) / 2.0).clip(0.0, 1.0)


def to_uint8(images: Tensor | npt.NDArray[Any]) -> Pixels:
    """Images in [0, 1], (…, C, H, W), as uint8 (…, H, W) for one channel, else (…, H, W, C)."""
    levels = (images * 255.0).round().clip(0, 255)
    planes = (levels if isinstance(levels, np.ndarray) else levels.to("cpu").numpy()).astype(np.uint8)
    return planes[..., 0, :, :] if planes.shape[-3] == 1 else np.moveaxis(planes, -3, -1)
