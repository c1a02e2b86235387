"""The autoencoder of dense layers of document 004."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import attrs
from torch import nn

from emnist_diff_plugins.codecs._plain import PlainAutoencoder, PlainSettings, initialised, widths


@attrs.frozen
class MlpAutoencoder(PlainSettings):
    """An autoencoder of dense layers, 784-512-256-128-16 and the same back.

    Example: ``emnist-diff train mlp_ae --dataset mnist --data DIR``
    """

    hidden: tuple[int, ...] = widths((512, 256, 128), "units of each hidden layer of the encoder")

    def network(self) -> PlainAutoencoder:
        """`CodecFamily.network`."""
        pixels = math.prod(self.image_shape)
        encoder = nn.Sequential(nn.Flatten(), *_dense((pixels, *self.hidden, self.latent)))
        decoder = nn.Sequential(
            *_dense((self.latent, *self.hidden[::-1], pixels)), nn.Unflatten(1, tuple(self.image_shape))
        )
        return PlainAutoencoder(initialised(encoder, encoder[-1]), initialised(decoder, decoder[-2]))


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]
