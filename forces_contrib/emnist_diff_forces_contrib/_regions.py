"""Regions of a picture: where each condition is to hold, drawn at the picture's size and fitted to the states."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch
from emnist_diff.errors import ConfigError
from emnist_diff.paths import local_path
from emnist_diff.protocols import Denoiser, HasImageShape, offers
from torch import Tensor
from torch.nn import functional as F

Mask = str | tuple[float, ...]
"""The name of a region or of a file, or a box (left, top, right, bottom) in shares of the picture."""

BOXES = {
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "centre": (0.25, 0.25, 0.75, 0.75),
}
"""Regions that need no file."""

_FORMATS = ("PNG", "JPEG", "BMP")


def masks_of(value: object) -> tuple[Mask, ...]:
    """Masks from a list of names, files and boxes. Raises `ConfigError` for anything else."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f"masks: expected a list of regions ({', '.join(BOXES)}), files or boxes, got {value!r}")
    return tuple(item if isinstance(item, str) else _box(item) for item in value)


def _box(value: object) -> tuple[float, ...]:
    numbers = value if isinstance(value, Sequence) else ()
    if len(numbers) != 4 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ConfigError(f"masks: a box is [left, top, right, bottom], got {value!r}")
    left, top, right, bottom = map(float, numbers)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ConfigError(
            f"masks: the box {list(numbers)} does not lie in the picture — its sides are shares of the picture, with "
            "0 ≤ left < right ≤ 1 and 0 ≤ top < bottom ≤ 1"
        )
    return left, top, right, bottom


@attrs.frozen(eq=False)
class Region:
    """A region of a picture.

    mask: as it was given.  values: of a file, float32 (H, W) in 0 … 1; None for a box.
    """

    mask: Mask
    values: Tensor | None = None

    @classmethod
    def read(cls, mask: Mask) -> Region:
        """The region that a mask means: one of `BOXES`, a box, a picture (black 0, white 1), or a ``.npy`` file of
        values 0 … 1. Raises `ConfigError` naming it."""
        if not isinstance(mask, str) or mask in BOXES:
            return cls(mask)
        values = _array(mask) if mask.endswith(".npy") else _picture(mask)
        if values.ndim != 2 or not values.size or not (values.min() >= 0 and values.max() <= 1):
            raise ConfigError(
                f"mask {mask!r} has shape {values.shape} and values from {values.min(initial=math.inf):g} to "
                f"{values.max(initial=-math.inf):g} — a mask is (height, width), 1 where its class is to hold, 0 … 1"
            )
        return cls(mask, torch.from_numpy(values.astype(np.float32)))

    def drawn(self, size: tuple[int, int]) -> Tensor:
        """Over a picture of size (H, W), float64: for each pixel the share of it that lies in the region.

        Raises `ConfigError` for a file of other proportions than the picture's.
        """
        if self.values is None:
            left, top, right, bottom = BOXES[self.mask] if isinstance(self.mask, str) else self.mask
            return _covered(top, bottom, size[0])[:, None] * _covered(left, right, size[1])[None]
        height, width = self.values.shape
        if height * size[1] != width * size[0]:
            raise ConfigError(
                f"mask {self.mask!r} is {width} × {height}, and images of this model are {size[1]} × {size[0]} — give "
                "one of the same proportions"
            )
        return fitted(self.values.double(), size)


def _covered(start: float, stop: float, count: int) -> Tensor:
    """For each of so many equal parts of 0 … 1 the share of it that lies between two numbers, (count,) float64."""
    edges = torch.arange(count + 1, dtype=torch.float64)
    return (edges[1:].clamp(max=stop * count) - edges[:-1].clamp(min=start * count)).clamp(0.0, 1.0)


def fitted(plane: Tensor, size: tuple[int, int]) -> Tensor:
    """A plane (H, W) at another size: each place has the mean of what it covers."""
    return F.adaptive_avg_pool2d(plane[None], size)[0]


def feathered(plane: Tensor, sigma: float) -> Tensor:
    """A plane (H, W) blurred by a Gaussian of standard deviation `sigma` pixels, what is at its border going on
    beyond it, so that a region that reaches the border still does. 0 changes nothing."""
    if sigma == 0:
        return plane
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=plane.dtype) / sigma).square())
    kernel = (kernel / kernel.sum())[None, None]
    for _ in range(2):
        rows = F.pad(plane[:, None], (reach, reach), mode="replicate")
        plane = F.conv1d(rows, kernel)[:, 0].T
    return plane


def shares(regions: Sequence[Region], feather: float, denoiser: Denoiser) -> Tensor:
    """The share of each region in each place of a denoiser's states (C, h, w), (regions, h, w) float32: they add up to
    1 at most, and what is left belongs to no region.

    feather: standard deviation of the blur at their borders, in shorter sides of the picture.

    Raises `ConfigError` for states without places, and for a region that covers none of them.
    """
    shape = tuple(denoiser.shape)
    if len(shape) != 3:
        raise ConfigError(
            f"states of this model have shape {shape}, and no number of them stands for a place in the picture — "
            "regions need a model of pixels, or of latents with height and width"
        )
    places = picture = shape[1], shape[2]
    if offers(denoiser, HasImageShape):
        picture = denoiser.image_shape[1], denoiser.image_shape[2]
    planes = []
    for region in regions:
        plane = fitted(feathered(region.drawn(picture), feather * min(picture)), places)
        if not plane.max() > 0:
            raise ConfigError(f"mask {region.mask!r} covers nothing of the picture — it is 0 everywhere")
        planes.append(plane)
    stacked = torch.stack(planes)
    return (stacked / stacked.sum(0).clamp_min(1.0)).float()


def _content(name: str) -> bytes:
    try:
        return Path(local_path(name)).read_bytes()
    except (OSError, ValueError) as error:  # a name with a null byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"mask {name!r} cannot be read: {reason} — masks are {', '.join(BOXES)}, a picture, .npy or a box"
        ) from error


def _array(name: str) -> np.ndarray:
    try:
        values = np.load(io.BytesIO(_content(name)), allow_pickle=False)
    except (ValueError, EOFError, MemoryError, SyntaxError) as error:  # what NumPy raises for what is no such file
        raise ConfigError(f"mask {name!r} holds no NumPy array that can be read") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise ConfigError(f"mask {name!r} holds no array of real numbers — save one with numpy.save")
    return values.astype(np.float64)


def _picture(name: str) -> np.ndarray:
    from PIL import Image

    data = io.BytesIO(_content(name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(data, formats=_FORMATS) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError("it has more than 8 bits a channel")
                return np.asarray(image.convert("L"), dtype=np.float64) / 255.0
    except Exception as error:  # a decoder raises whatever it stumbles over
        raise ConfigError(f"mask {name!r} is no picture that can be read ({', '.join(_FORMATS)}, or .npy)") from error
