"""The convolutional autoencoder of document 004: images to a vector and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
from torch import nn

from emnist_diff_plugins.codecs._plain import (
    WIDEST,
    PlainAutoencoder,
    PlainSettings,
    initialised,
    widths,
)
from emnist_diff_plugins.fields import between, setting


@attrs.frozen
class ConvAutoencoder(PlainSettings):
    """A convolutional autoencoder; with its defaults, document 004's, of 863,505 parameters.

    Example: ``emnist-diff train conv_ae --dataset mnist --data DIR``
    """

    widths: tuple[int, ...] = widths((32, 64, 128), "channels of each level, full resolution first")
    hidden: int = setting(128, "units between the convolutions and the latent", between(1, WIDEST))

    def network(self) -> PlainAutoencoder:
        """`CodecFamily.network`."""
        sizes = [self.size]
        for _ in self.widths:
            sizes.append(math.ceil(sizes[-1] / 2))
        return PlainAutoencoder(self._encoder(sizes[-1]), self._decoder(sizes))

    def _encoder(self, smallest: int) -> nn.Module:
        layers: list[nn.Module] = []
        for before, width in zip((self.channels, *self.widths), self.widths, strict=False):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.ReLU()]
        last = nn.Linear(self.hidden, self.latent)
        flat = self.widths[-1] * smallest**2
        layers += [nn.Flatten(), nn.Linear(flat, self.hidden), nn.ReLU(), last]
        return initialised(nn.Sequential(*layers), last)

    def _decoder(self, sizes: Sequence[int]) -> nn.Module:
        deepest, smallest = self.widths[-1], sizes[-1]
        layers: list[nn.Module] = [nn.Linear(self.latent, self.hidden), nn.ReLU()]
        layers += [nn.Linear(self.hidden, deepest * smallest**2), nn.ReLU()]
        layers += [nn.Unflatten(1, (deepest, smallest, smallest)), nn.Conv2d(deepest, deepest, 3, padding=1), nn.ReLU()]
        last = nn.Conv2d(self.widths[0], self.channels, 3, padding=1)
        for width, after, size in zip(self.widths[:0:-1], self.widths[-2::-1], sizes[-2:0:-1], strict=True):
            layers += [nn.Upsample(size=(size, size), mode="nearest"), nn.Conv2d(width, after, 3, padding=1), nn.ReLU()]
        layers += [nn.Upsample(size=(self.size, self.size), mode="nearest"), last]
        return initialised(nn.Sequential(*layers), last)
