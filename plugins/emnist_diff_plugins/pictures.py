"""Pictures that people look at: images laid out in a table, saved whole or not at all."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from emnist_diff_trajectory.files import write_bytes

_GAP = 2
_FRAME_GREY = 40


def table(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Images of one size, uint8 (H, W) or (H, W, 3), laid out row by row, with thin grey lines between."""
    height, width, *channels = images[0].shape
    rows = math.ceil(len(images) / columns)
    size = (rows * (height + _GAP) + _GAP, min(columns, len(images)) * (width + _GAP) + _GAP)
    canvas = np.full((*size, *channels), _FRAME_GREY, np.uint8)
    for number, image in enumerate(images):
        top, left = _GAP + number // columns * (height + _GAP), _GAP + number % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas


def png(pixels: np.ndarray, scale: int = 1) -> bytes:
    """A PNG of uint8 (H, W) or (H, W, 3), each pixel a square of `scale`."""
    image = Image.fromarray(pixels)
    encoded = io.BytesIO()
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(encoded, "PNG")
    return encoded.getvalue()


def save_png(pixels: np.ndarray, path: Path, scale: int = 1, *, sync: bool = True) -> None:
    """Write `png` to a file, as `emnist_diff_trajectory.files.write_bytes` does. Raises `OutputError`."""
    write_bytes(path, png(pixels, scale), sync=sync)
