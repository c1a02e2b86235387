"""The images of a call of a pipeline, from what it returned or from its last states."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.denoisers.pipelines.codec import Codec
from emnist_diff_plugins.denoisers.pipelines.flux import latents_of
from emnist_diff_trajectory.pixels import as_images


@attrs.define(eq=False)
class Decoder:
    """Images in [0, 1] of a pipeline's states; without an autoencoder, states are images in [-1, 1].

    grid: rows and columns of tokens, where the scheduler's states are tokens of 2 x 2 latents, as those of Flux.
    """

    pipeline: Any
    grid: tuple[int, int] | None = None
    _codec: Codec | None = attrs.field(init=False, default=None)

    @classmethod
    def of(cls, pipeline: Any, shape: tuple[int, ...], given: Mapping[str, Any]) -> Decoder:
        """shape: of a state as the scheduler has it.  given: arguments of the call."""
        vae = getattr(pipeline, "vae", None)
        channels = getattr(getattr(vae, "config", None), "latent_channels", None)
        if len(shape) != 2 or channels is None or shape[1] != 4 * channels:
            return cls(pipeline)
        factor = 2 * int(getattr(pipeline, "vae_scale_factor", 8))
        usual = int(getattr(pipeline, "default_sample_size", 128)) * factor // 2
        rows, columns = (int(given.get(side) or usual) // factor for side in ("height", "width"))
        return cls(pipeline, (rows, columns) if rows * columns == shape[0] else None)

    def states(self, x: Tensor) -> Tensor:
        """States as they are recorded: tokens of 2 x 2 as the latents (C, H/8, W/8) that they are of."""
        return x if self.grid is None else latents_of(x, *self.grid)

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of recorded states (B, *shape)."""
        vae = getattr(self.pipeline, "vae", None)
        if vae is None:
            return as_images(x)
        if self._codec is None:  # in half precision the autoencoder of SDXL overflows, and it is the user's
            self._codec = Codec(vae if vae.dtype == torch.float32 else copy.deepcopy(vae).float())
        with torch.no_grad():
            return self._codec.decode(x.to(getattr(self.pipeline, "_execution_device", vae.device))).cpu()


def images_of(result: Any, count: int) -> Tensor | None:
    """The images (B, C, H, W) in [0, 1] that a pipeline returned, `count` of them; None where it returned none."""
    found = _held(result)
    if isinstance(found, list) and found and all(hasattr(image, "convert") for image in found):
        grey = all(image.mode in ("L", "1") for image in found)
        planes = [np.asarray(image.convert("L" if grey else "RGB"), np.float32) / 255.0 for image in found]
        if len({plane.shape for plane in planes}) > 1:
            return None
        stacked = np.stack(planes)
        found = stacked[..., None] if grey else stacked
    if isinstance(found, np.ndarray) and found.ndim == 4:
        images = torch.from_numpy(np.ascontiguousarray(found, np.float32)).permute(0, 3, 1, 2)
    elif isinstance(found, Tensor) and found.ndim == 4:
        images = found.detach().to("cpu", torch.float32)
    else:
        return None
    return images if len(images) == count and images.shape[1] in (1, 3) else None


def _held(result: Any) -> Any:
    """What stands for images in an output, a tuple, a table, a state of a modular pipeline, or is them."""
    if isinstance(result, tuple):
        return result[0] if result else None
    if isinstance(result, Mapping):
        return result.get("images")
    if hasattr(result, "values") and isinstance(result.values, dict):  # of a modular pipeline
        return result.values.get("images")
    return getattr(result, "images", result)


def require_images(images: Tensor, count: int) -> Tensor:
    """Raise `ConfigError` for what cannot be recorded as images, (B, 1 or 3, H, W)."""
    if images.ndim != 4 or len(images) != count or images.shape[1] not in (1, 3):
        raise ConfigError(f"the pipeline ends in {tuple(images.shape)}, which are no images — record one of images")
    return images
