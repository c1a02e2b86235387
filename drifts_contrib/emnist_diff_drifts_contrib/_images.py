"""Images as states: a picture in −1 … 1, or an array of a state's own values."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from emnist_diff.errors import ConfigError
from torch import Tensor

from emnist_diff_drifts_contrib._files import Floats, array, pixels

LARGEST = 100.0
"""States are of the order of 1; an array with larger values than this was saved in other units."""


@attrs.frozen(eq=False)
class Known:
    """What a file holds, to be laid over states.

    name: of the file.  values: float32; of a picture (H, W, 3) or (H, W) in −1 … 1.  picture: whether it is one.
    """

    name: str
    values: Floats
    picture: bool

    @classmethod
    def read(cls, name: str) -> Known:
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

    def shaped(self, shape: tuple[int, ...]) -> Floats:
        """As a state of this shape: an array of that very shape; a picture of that height and width, in grays for
        states of one channel and in colours for states of three.

        Raises `ConfigError` naming the file and both shapes.
        """
        if not self.picture:
            if self.values.shape != shape:
                raise ConfigError(f"{self.name!r} has shape {self.values.shape}, and a state has {shape}")
            return self.values
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ConfigError(f"{self.name!r} is a picture, and states of shape {shape} are none — give an array, .npy")
        height, width = self.values.shape[:2]
        if (height, width) != shape[1:]:
            raise ConfigError(
                f"{self.name!r} is {width} × {height} pixels, and a state is {shape[2]} × {shape[1]} — resize it"
            )
        return _channels(self.values, shape[0])

    def like(self, x: Tensor) -> Tensor:
        """As one state, (*shape), beside states x (B, *shape). Raises as `shaped`."""
        return torch.from_numpy(self.shaped(tuple(x.shape[1:]))).to(x)


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
