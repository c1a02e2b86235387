"""What plain autoencoders share: a bottleneck without a distribution, and binary cross-entropy of pixels."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import validators as v
from torch import Tensor, nn
from torch.nn import functional as F

from emnist_diff.errors import ConfigError
from emnist_diff_plugins.containers.families import Statistics
from emnist_diff_plugins.containers.rowwise import sigmoid
from emnist_diff_plugins.fields import between, setting

LARGEST_SIDE, WIDEST = 4096, 16_384
"""Bounds on settings, far above what anybody trains here: a header cannot ask for what no machine holds."""


def widths(default: tuple[int, ...], help: str) -> Any:
    """A field of channels, one a level."""
    valid: Any = v.and_(v.min_len(1), v.max_len(12), v.deep_iterable(between(1, WIDEST)))
    return setting(default, help, valid)


@attrs.frozen
class ImageSettings:
    """The settings of every codec that the images decide."""

    size: int = setting(28, "height and width of the images", between(1, LARGEST_SIDE))
    channels: int = setting(1, "image channels", between(1, WIDEST))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`CodecFamily.image_shape`: (C, H, W)."""
        return (self.channels, self.size, self.size)

    @staticmethod
    def fitted(image_shape: tuple[int, ...]) -> dict[str, Any]:
        """`CodecFamily.fitted`: square images of any size."""
        if len(image_shape) != 3 or image_shape[1] != image_shape[2]:
            raise ConfigError(f"a codec takes square images (C, H, H), and these are {tuple(image_shape)}")
        return {"channels": image_shape[0], "size": image_shape[1]}


@attrs.frozen
class PlainSettings(ImageSettings):
    """The settings of a plain autoencoder."""

    latent: int = setting(16, "numbers of a latent", between(1, WIDEST))
    statistics: Statistics = setting("element", "how latents are standardised: element, channel or scale")

    @property
    def shape(self) -> tuple[int, ...]:
        """`CodecFamily.shape`: a vector."""
        return (self.latent,)


class PlainAutoencoder(nn.Module):
    """`CodecNetwork` of an encoder, images → latents, and a decoder, latents → logits of the pixels."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def encode(self, images: Tensor) -> Tensor:
        """Latents (B, D) of images (B, C, H, W) in [0, 1]."""
        latents: Tensor = self.encoder(images)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W), of latents (B, D)."""
        images: Tensor = sigmoid(self.decoder(latents))
        return images

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """Binary cross-entropy, the mean over all pixels; there is nothing to draw."""
        return F.binary_cross_entropy_with_logits(self.decoder(self.encoder(images)), images)


def initialised(network: nn.Module, last: nn.Module) -> nn.Module:
    """Weights by He et al., 2015, arXiv:1502.01852, those of the last layer by Glorot and Bengio, 2010; no biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            draw = nn.init.xavier_uniform_ if module is last else nn.init.kaiming_normal_
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
