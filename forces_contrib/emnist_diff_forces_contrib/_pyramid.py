"""Laplacian pyramids of images (Burt and Adelson, 1983), with the filters of OpenCV's and kornia's pyramids.

Each level holds what the next, half as large, cannot: its own image minus the next level's, enlarged. The last level is
an image itself. Adding them up again gives the image, exactly but for rounding. All of it is linear, and each element
is computed by itself, so that no image sees its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
LEAST = 3
"""The smallest side of an image that can be blurred: the kernel's reach is mirrored inside of it."""


def sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Height and width of each level, largest first."""
    return [(height >> i, width >> i) for i in range(levels)]


def fits(height: int, width: int, levels: int) -> bool:
    """Whether an image is large enough for so many levels: all but the last are blurred."""
    *blurred, last = sizes(height, width, levels)
    return min(last) >= 1 and all(min(size) >= LEAST for size in blurred)


def blurred(x: Tensor) -> Tensor:
    """x (N, C, H, W) under a binomial kernel of 5 × 5, mirrored at its edges without repeating them."""
    for dim in (-2, -1):
        side = x.shape[dim]
        places = [*range(2, 0, -1), *range(side), *range(side - 2, side - 4, -1)]
        padded = x.index_select(dim, torch.tensor(places, device=x.device))
        parts = [weight * padded.narrow(dim, i, side) for i, weight in enumerate(_KERNEL)]
        x = parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
    return x


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """x (N, C, H, W) bilinearly at another size, edges on edges."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """The levels of x (N, C, H, W), finest first."""
    out = []
    for size in sizes(x.shape[-2], x.shape[-1], levels)[1:]:
        smaller = resized(blurred(x), size)
        out.append(x - enlarged(smaller, x))
        x = smaller
    return [*out, x]


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """x (N, C, H, W), brought to the size of `like` and smoothed."""
    return blurred(resized(x, (like.shape[-2], like.shape[-1])))


def image(levels: Sequence[Tensor]) -> Tensor:
    """The image (N, C, H, W) that has these levels."""
    *finer, out = levels
    for level in reversed(finer):
        out = level + enlarged(out, level)
    return out
