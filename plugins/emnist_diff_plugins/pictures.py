"""Pictures that people look at: images laid out in a table, saved whole or not at all."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from emnist_diff_trajectory.files import write_bytes

_GAP = 2
_FRAME_GREY = 40
ENLARGED = 512
"""Pixels of the longer side beyond which an image is not enlarged, unless by a number that somebody gives."""


def enlargement(most: int, image_shape: Sequence[int], given: int | None = None) -> int:
    """How large a square each pixel of an image (…, H, W) becomes, so that small ones can be seen and large ones stay
    as they are: `given`, or without it `most`, and less where the longer side would pass `ENLARGED`."""
    return max(1, min(most, ENLARGED // max(image_shape[-2:]))) if given is None else given


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


def png(pixels: np.ndarray, scale: int = 1, text: Mapping[str, str] | None = None) -> bytes:
    """A PNG of uint8 (H, W) or (H, W, 3), each pixel a square of `scale`.  text: its text chunks, by their keywords;
    what Latin-1 cannot hold becomes international text."""
    image = Image.fromarray(pixels)
    encoded, chunks = io.BytesIO(), PngInfo()
    for keyword, value in (text or {}).items():
        chunks.add_text(keyword, value)
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    enlarged.save(encoded, "PNG", pnginfo=chunks)
    return encoded.getvalue()


def save_png(pixels: np.ndarray, path: Path, scale: int = 1, *, sync: bool = True) -> None:
    """Write `png` to a file, as `emnist_diff_trajectory.files.write_bytes` does. Raises `OutputError`."""
    write_bytes(path, png(pixels, scale), sync=sync)
