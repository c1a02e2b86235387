"""Masks: where a drift acts, 1, and where it does not, 0."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser, Encodes, offers
from torch import Tensor
from torch.nn import functional

from emnist_diff_drifts_contrib._files import Floats, array, pixels
from emnist_diff_drifts_contrib._images import image_shape

REGIONS = ("left", "right", "top", "bottom", "centre", "border")
"""Masks that need no file: halves of the last axis (left, right) and of the one before (top, bottom); the middle half
of both, and the rest."""


@attrs.frozen(eq=False)
class Mask:
    """A mask for states of some shape.

    name: a region or a file.  values: of the file, float32 in 0 … 1, or None.
    """

    name: str
    values: Floats | None = None

    @classmethod
    def read(cls, name: str) -> Mask:
        """The mask that a name means: one of `REGIONS`, a picture (black 0, white 1), or a ``.npy`` file of values
        0 … 1. Raises `ConfigError` naming it."""
        if name in REGIONS:
            return cls(name)
        if not name.endswith(".npy"):
            gray = pixels(name).astype(np.float32) / 255.0
            return cls(name, gray if gray.ndim == 2 else gray.mean(2, dtype=np.float32))
        values = array(name).astype(np.float32)
        if values.size and not 0.0 <= values.min() <= values.max() <= 1.0:
            raise ConfigError(
                f"mask {name!r} holds values from {values.min():g} to {values.max():g} — a mask is 0 … 1, and 1 where "
                "the drift acts"
            )
        return cls(name, values)

    def shaped(self, shape: tuple[int, ...]) -> Floats:
        """Over states of this shape. What a file has fewer axes than a state is the same along the first ones.

        Raises `ConfigError` for a mask that does not fit, with both shapes.
        """
        if self.values is None:
            return _region(self.name, shape)
        if not _ends(shape, self.values.shape):
            raise ConfigError(f"mask {self.name!r} has shape {self.values.shape}, and a state has {shape}")
        return np.broadcast_to(self.values, shape)

    def encoded(self, denoiser: Denoiser) -> Mask:
        """Over the states of this denoiser, where they are made of images. A mask of the size of its images is resized
        to the places of the latents, each of which has the mean of what it covers; one of the latents' own shape stays.

        Raises `ConfigError` for latents without places, and for a mask of another size.
        """
        shape, encodes = tuple(denoiser.shape), offers(denoiser, Encodes)
        if not encodes or (self.values is not None and _ends(shape, self.values.shape)):
            return self
        if len(shape) != 3:
            raise ConfigError(
                f"mask {self.name!r}: no number in latents of shape {shape} stands for a place in the image — give an "
                "array of that shape, .npy, or use a model of pixels"
            )
        if self.values is None:
            return self
        height, width = image_shape(denoiser)[1:]
        if self.values.shape != (height, width):
            raise ConfigError(
                f"mask {self.name!r} has shape {self.values.shape}, and images of this model have {(height, width)}"
            )
        small = functional.adaptive_avg_pool2d(torch.from_numpy(self.values)[None], shape[1:])
        return Mask(self.name, small[0].numpy())

    def like(self, x: Tensor) -> Tensor:
        """Beside states x (B, *shape): (*shape). Raises as `shaped`."""
        return torch.from_numpy(self.shaped(tuple(x.shape[1:])).copy()).to(x)


def _ends(shape: tuple[int, ...], last: tuple[int, ...]) -> bool:
    """Whether a shape ends in another."""
    return len(last) <= len(shape) and shape[len(shape) - len(last) :] == last


def _region(name: str, shape: tuple[int, ...]) -> Floats:
    if name not in ("left", "right") and len(shape) < 2:
        raise ConfigError(f"mask {name!r}: states of shape {shape} have no height — use left, right or a file")
    width, height = shape[-1], shape[-2] if len(shape) > 1 else 1
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    middle = (abs(2 * rows + 1 - height) < height / 2) & (abs(2 * columns + 1 - width) < width / 2)
    area = {
        "left": columns < width // 2,
        "right": columns >= width // 2,
        "top": rows < height // 2,
        "bottom": rows >= height // 2,
        "centre": middle,
        "border": ~middle,
    }[name]
    plane = np.broadcast_to(area, (height, width)).astype(np.float32)
    return np.broadcast_to(plane if len(shape) > 1 else plane[0], shape)


def mask_setting(help: str, default: Any = attrs.NOTHING) -> Any:
    """The setting that names a mask."""
    return attrs.field(default=default, metadata={"help": f"{help}: {', '.join(REGIONS)}, a picture, or .npy"})


def mask_field() -> Any:
    """The mask that the setting `mask` means, read when the component is made; no setting itself."""
    return attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(lambda made: Mask.read(made.mask), takes_self=True)
    )
