"""Images as states: a picture in −1 … 1, a latent of it, or an array of a state's own values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs
import numpy as np
import torch
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser, Encodes, HasImageShape, offers
from torch import Tensor

from emnist_diff_drifts_contrib._files import Floats, array, bank, pixels

LARGEST = 100.0
"""States are of the order of 1; an array with larger values than this was saved in other units."""

T = TypeVar("T")


@attrs.frozen(eq=False)
class Image:
    """What a file holds, to be laid over states.

    name: of the file.  values: float32; of a picture (H, W, 3) or (H, W) in −1 … 1.  picture: whether it is one.
    """

    name: str
    values: Floats
    picture: bool

    @classmethod
    def read(cls, name: str) -> Image:
        """The content of a picture or of a ``.npy`` file. Raises `ConfigError` naming the file."""
        if not name.endswith(".npy"):
            return cls(name, (pixels(name) / 127.5 - 1.0).astype(np.float32), True)
        values = array(name)
        if values.dtype.kind != "f" or np.abs(values).max(initial=0.0) > LARGEST:
            raise ConfigError(
                f"{name!r} holds {values.dtype} up to {np.abs(values).max(initial=0):g}, which are no values of a "
                "state — images live in −1 … 1: save pixels / 127.5 − 1 as float32"
            )
        return cls(name, values.astype(np.float32), False)

    def shaped(self, shape: tuple[int, ...], of: str = "a state") -> Floats:
        """As a state of this shape: an array of that very shape; a picture of that height and width, in grays for
        states of one channel and in colours for states of three.  of: what has that shape, for messages.

        Raises `ConfigError` naming the file and both shapes.
        """
        if not self.picture:
            if self.values.shape != shape:
                raise ConfigError(f"{self.name!r} has shape {self.values.shape}, and {of} has {shape}")
            return self.values
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ConfigError(f"{self.name!r} is a picture, and states of shape {shape} are none — give an array, .npy")
        height, width = self.values.shape[:2]
        if (height, width) != shape[1:]:
            raise ConfigError(
                f"{self.name!r} is {width} × {height} pixels, and {of} is {shape[2]} × {shape[1]} — resize it"
            )
        return _channels(self.values, shape[0])

    def encoded(self, denoiser: Denoiser) -> Image:
        """A picture as a state of this denoiser, where its states are no pixels; an array as it is.

        Raises `ConfigError` for a picture of another size than the denoiser's images, and for a denoiser of other
        states than pixels that makes none of images.
        """
        shape = image_shape(denoiser)
        if not self.picture or (not offers(denoiser, Encodes) and shape == tuple(denoiser.shape)):
            return self
        if not offers(denoiser, Encodes):
            raise ConfigError(
                f"{self.name!r} is a picture, and this model cannot encode pictures into its states of shape "
                f"{tuple(denoiser.shape)} — give an array of that shape, .npy"
            )
        picture = torch.from_numpy(self.shaped(shape, "an image of this model") / 2 + 0.5)
        return Image(self.name, denoiser.encode(picture[None])[0].float().cpu().numpy(), False)


@attrs.frozen(eq=False)
class Known:
    """The images that a setting names: one for all samples, or a bank, of which samples take one each in turn."""

    images: tuple[Image, ...]

    @classmethod
    def read(cls, name: str) -> Known:
        """The content of a picture, of a ``.npy`` file, or of a folder of these. Raises `ConfigError` naming it."""
        return cls(tuple(Image.read(each) for each in bank(name) or [name]))

    def shaped(self, shape: tuple[int, ...]) -> tuple[Floats, ...]:
        """Each as a state of this shape. Raises as `Image.shaped`."""
        return tuple(image.shaped(shape) for image in self.images)

    def encoded(self, denoiser: Denoiser) -> Known:
        """As states of this denoiser. Raises as `Image.encoded`."""
        return Known(tuple(image.encoded(denoiser) for image in self.images))

    def like(self, x: Tensor, sample_ids: Sequence[int]) -> Tensor:
        """Beside states x (B, *shape): one of them for all, (*shape); of a bank (B, *shape), for sample i the one at
        i modulo their number. Raises as `shaped`."""
        states = self.shaped(tuple(x.shape[1:]))
        if len(states) == 1:
            return torch.from_numpy(states[0]).to(x)
        return torch.from_numpy(np.stack([states[number % len(states)] for number in sample_ids])).to(x)


def image_shape(denoiser: Denoiser) -> tuple[int, ...]:
    """(C, H, W) of the images that a denoiser's states show."""
    if offers(denoiser, HasImageShape):
        return tuple(denoiser.image_shape)
    return tuple(denoiser.decode(torch.zeros(1, *denoiser.shape)).shape[1:])


def replaced(component: T, **fields: Any) -> T:
    """A copy with other values of fields that are no settings; files are not read again."""
    out = copy.copy(component)
    for name, value in fields.items():
        object.__setattr__(out, name, value)
    return out


def _channels(values: Floats, channels: int) -> Floats:
    """(H, W) or (H, W, 3) as (channels, H, W). Gray is luma (ITU-R BT.601)."""
    if channels == 1:
        gray = values if values.ndim == 2 else values @ np.array([0.299, 0.587, 0.114], np.float32)
        return gray[None].astype(np.float32)
    colours = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    return np.ascontiguousarray(colours.transpose(2, 0, 1))


def known_field(of: str, optional: bool = False) -> Any:
    """The content of the file of the setting `of`, read when the component is made; no setting itself.

    optional: None where `of` is empty.
    """

    def read(instance: Any) -> Known | None:
        name: str = getattr(instance, of)
        return None if optional and not name else Known.read(name)

    return attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(read, takes_self=True))
