"""From decoded images to the pixels that files and viewers hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Pixels = npt.NDArray[np.uint8]


def to_uint8(images: Tensor) -> Pixels:
    """Images in [0, 1], (…, C, H, W), as uint8 (…, H, W) for one channel, else (…, H, W, C)."""
    planes = (images * 255.0).round().clamp(0, 255).to("cpu").numpy().astype(np.uint8)
    return planes[..., 0, :, :] if planes.shape[-3] == 1 else np.moveaxis(planes, -3, -1)
