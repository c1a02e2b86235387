"""The autoencoder of a pipeline: latents as the network has them, and images in [0, 1]."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.onethread import one_thread


@attrs.frozen(eq=False)
class Codec:
    """An `AutoencoderKL` or `AutoencoderTiny` of diffusers, in single precision: in half of it, that of SDXL overflows.

    Images are decoded and encoded one at a time, so that the bits of one do not depend on its neighbours.
    """

    module: Any

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, 3, H, W), of latents (B, *shape)."""
        with one_thread(x.device):
            images = [self.module.decode(self._unscaled(part)).sample for part in x.float().split(1)]
        return (torch.cat(images) / 2.0 + 0.5).clamp(0.0, 1.0)

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, *shape) of images (B, 3, H, W) in [0, 1]: the modes, so that an image has one."""
        with one_thread(images.device):
            return torch.cat([self._scaled(self._latent(part)) for part in (2.0 * images.float() - 1.0).split(1)])

    def _latent(self, image: Tensor) -> Tensor:
        answer = self.module.encode(image)
        latent: Tensor = answer.latent_dist.mode() if hasattr(answer, "latent_dist") else answer.latents
        return latent

    def _unscaled(self, x: Tensor) -> Tensor:
        mean, std = self._moments(x)
        return x * std / self._config("scaling_factor", 1.0) + self._config("shift_factor", 0.0) + mean

    def _scaled(self, z: Tensor) -> Tensor:
        mean, std = self._moments(z)
        return (z - mean - self._config("shift_factor", 0.0)) * self._config("scaling_factor", 1.0) / std

    def _config(self, name: str, default: float) -> float:
        value = getattr(self.module.config, name, None)
        return default if value is None else float(value)

    def _moments(self, x: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Mean and deviation of each channel, where the configuration knows them."""
        mean, std = (getattr(self.module.config, name, None) for name in ("latents_mean", "latents_std"))
        if mean is None or std is None:
            return 0.0, 1.0
        mean, std = (torch.tensor(values, device=x.device, dtype=x.dtype).view(1, -1, 1, 1) for values in (mean, std))
        return mean, std
