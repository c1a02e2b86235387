"""Pictures in a terminal: half blocks in grey or colour, letters where there is none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RAMP = " .:-=+*#%@"
"""From black to white."""


def strip(images: npt.NDArray[np.uint8], width: int, colour: bool) -> list[str]:
    """Lines that show images (n, H, W) or (n, H, W, 3) side by side, shrunk to fit into `width` characters together.

    colour: two pixels a character by escapes of 24-bit terminals; without, a letter for each, half as high.
    """
    height, across = images.shape[1:3]
    room = max(1, (width - len(images) + 1) // len(images))
    factor = max(1, -(-across // room))
    small = np.stack([_shrunk(image, factor) for image in images])
    height, across = small.shape[1:3]
    if not colour:
        grey = small if small.ndim == 3 else small.mean(-1)
        letters = (grey[:, ::2].astype(int) * len(RAMP)) // 256
        return [
            " ".join("".join(RAMP[v] for v in image[line]) for image in letters) for line in range(letters.shape[1])
        ]
    rgb = small if small.ndim == 4 else np.repeat(small[..., None], 3, axis=-1)
    if height % 2:
        rgb = np.concatenate([rgb, np.zeros_like(rgb[:, :1])], axis=1)
    lines = []
    for line in range(0, rgb.shape[1], 2):
        cells = [
            "".join(_cell(image[line, column], image[line + 1, column]) for column in range(across)) + "\x1b[0m"
            for image in rgb
        ]
        lines.append(" ".join(cells))
    return lines


def _cell(upper: npt.NDArray[np.uint8], lower: npt.NDArray[np.uint8]) -> str:
    ink, paper = (";".join(str(int(v)) for v in pixel) for pixel in (upper, lower))
    return f"\x1b[38;2;{ink};48;2;{paper}m▀"


def _shrunk(image: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Mean over squares; what is left over at the edges is cut off, unless nothing would be left."""
    if factor == 1:
        return image
    height, width = (max(1, n // factor) for n in image.shape[:2])
    down, across = (min(factor, n) for n in image.shape[:2])
    cut = image[: height * down, : width * across].astype(np.float32)
    shape = (height, down, width, across, *image.shape[2:])
    return np.asarray(cut.reshape(shape).mean((1, 3)).round().astype(np.uint8))
