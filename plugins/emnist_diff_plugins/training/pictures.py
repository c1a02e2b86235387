"""Pictures of what a training has learnt, ready to be written."""

from __future__ import annotations

import math

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff_plugins.containers.codecs import Codec
from emnist_diff_plugins.pictures import enlargement, table
from emnist_diff_plugins.training.batches import to_image
from emnist_diff_plugins.training.layout import Kind
from emnist_diff_trajectory.pixels import to_uint8

_PAIRS = 8
"""Images in a row over their reconstructions."""


@attrs.frozen(eq=False)
class Picture:
    """kind: which folder it belongs to.  name: of its file, "" for the one picture that needs none.
    pixels: uint8 (H, W) or (H, W, 3).  scale: pixels become squares of this size."""

    kind: Kind
    name: str
    pixels: np.ndarray
    scale: int = 3


def grid(kind: Kind, name: str, images: Tensor, columns: int | None = None) -> Picture:
    """Images (N, C, H, W) in [0, 1] row by row; without `columns`, in a table a little wider than high."""
    scale = enlargement(3, images.shape)
    count = math.ceil(math.sqrt(len(images) * 1.6)) if columns is None else columns
    return Picture(kind, name, table(list(to_uint8(images)), count), scale)


def reconstructions(kind: Kind, codec: Codec, images: Tensor, device: torch.device, rows: int = 2) -> Picture:
    """uint8 images (N, C, H, W), as many as fit into `rows`, each row over that of what the codec leaves of it."""
    shown = to_image(images[: rows * _PAIRS]).to(device)
    shown = shown[: max(1, len(shown) // _PAIRS) * _PAIRS]
    pairs = zip(shown.split(_PAIRS), codec.decode(codec.encode(shown)).split(_PAIRS), strict=True)
    name = "reconstructions" if kind != "samples" else ""
    return grid(kind, name, torch.cat([part for pair in pairs for part in pair]), min(_PAIRS, len(shown)))
