"""Pictures in a terminal side by side: half blocks in grey or colour, letters where there is none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emnist_diff_plugins import blocks

RAMP = " .:-=+*#%@"
"""From black to white."""


def strip(images: npt.NDArray[np.uint8], width: int, colour: bool) -> list[str]:
    """Lines that show images (n, H, W) or (n, H, W, 3) side by side, shrunk to fit into `width` characters together.

    colour: two pixels a character by escapes of 24-bit terminals; without, a letter for each, half as high.
    """
    room = max(1, (width - len(images) + 1) // len(images))
    small = blocks.in_squares(images, max(1, -(-images.shape[2] // room)))
    columns = [blocks.printed(image) if colour else _letters(image) for image in small]
    return [" ".join(line) for line in zip(*columns, strict=True)]


def _letters(image: npt.NDArray[np.uint8]) -> list[str]:
    grey = image if image.ndim == 2 else image.mean(-1)
    return ["".join(RAMP[level] for level in row) for row in (grey[::2].astype(int) * len(RAMP)) // 256]
