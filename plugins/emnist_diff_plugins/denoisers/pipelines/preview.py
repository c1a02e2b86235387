"""Cheap pictures of latents: a linear map of their channels, fitted to the autoencoder of the folder, or what a tiny
autoencoder (TAESD) makes of them, which has a folder of its own."""

from __future__ import annotations

from pathlib import Path

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F

from emnist_diff.errors import CheckpointError
from emnist_diff_plugins.denoisers.pipelines import parts
from emnist_diff_plugins.denoisers.pipelines.codec import Codec
from emnist_diff_plugins.denoisers.pipelines.folder import PipelineFolder

TINY = "AutoencoderTiny"

_TILES, _TILE = 8, 4
"""Tiles of one colour each along a side of the picture that is encoded for the fit, and pixels of the latent along a
side of a tile."""

_RIDGE = 1e-6
"""Of the mean square of a channel, for channels that depend on each other."""


@attrs.frozen(eq=False)
class Linear:
    """Red, green and blue as affine functions of a latent's channels at the same place.

    weights: (C + 1, 3), the last row being the constant.  factor: pixels of an image a pixel of the latent.
    """

    weights: Tensor
    factor: int

    @classmethod
    def fitted(cls, codec: Codec, factor: int, device: str) -> Linear:
        """The least-squares map from the latents of a picture of random colours to these colours."""
        colours = torch.rand((1, 3, _TILES, _TILES), generator=torch.Generator().manual_seed(0))
        small = colours.repeat_interleave(_TILE, 2).repeat_interleave(_TILE, 3)
        picture = small.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        with torch.inference_mode(False), torch.no_grad():
            latents = codec.encode(picture.to(device)).cpu().double()
            a, b = _with_constant(latents).flatten(1), small[0].flatten(1).double()
            gram = a @ a.T
            ridge = _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
            return cls(torch.linalg.solve(gram + ridge, a @ b.T).float().to(device), factor)

    def __call__(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, 3, H, W), of latents (B, C, h, w): squares of one colour for each pixel of a latent."""
        x = x.to(self.weights.device, torch.float32)
        colours = torch.einsum("bchw,cr->brhw", x, self.weights[:-1]) + self.weights[-1].view(1, 3, 1, 1)
        return F.interpolate(colours.clamp(0.0, 1.0), scale_factor=self.factor, mode="nearest")


def _with_constant(latents: Tensor) -> Tensor:
    """(C + 1, h, w) of one latent (1, C, h, w)."""
    return torch.cat((latents[0], torch.ones_like(latents[0, :1])))


@attrs.frozen(eq=False)
class Tiny:
    """What a tiny autoencoder makes of latents."""

    codec: Codec
    device: str

    def __call__(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, 3, H, W), of latents (B, C, h, w)."""
        return self.codec.decode(x.to(self.device))


def require_tiny(path: Path, channels: int) -> PipelineFolder:
    """The folder of a tiny autoencoder, as a part of the folder above. Raises `CheckpointError` for one that is not
    whole, holds something else, or is for latents of another number of channels."""
    path = path.absolute()
    above = PipelineFolder(path.parent, {path.name: ["diffusers", TINY]})
    above.require(path.name, (TINY,), "diffusers")
    config = above.config(path.name)
    if (held := str(config.get("_class_name"))) != TINY:
        raise CheckpointError(f"preview: {path} holds a {held:.80} and no {TINY} — leave it out for a linear map")
    if (own := int(config.get("latent_channels", 4))) != channels:
        raise CheckpointError(
            f"preview: {path} is for latents of {own} channels, and the model's have {channels} — use that of its kind"
        )
    return above


def tiny(path: Path, channels: int, device: str) -> Tiny:
    """A tiny autoencoder on a device. Raises as `require_tiny` and `parts.part`."""
    folder = require_tiny(path, channels)
    return Tiny(Codec(parts.part(folder, path.absolute().name, device, torch.float32).to(device)), device)
