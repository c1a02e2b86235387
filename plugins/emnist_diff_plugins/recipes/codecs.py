"""Codecs, on which models of latents are trained."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff_plugins.fields import between, setting
from emnist_diff_plugins.recipes._shared import component, document_001, document_004, width


@attrs.frozen
class Vae:
    """Document 001's variational autoencoder; `emnist_diff_plugins.codecs.vae` with a quarter of the channels learns as
    much in a fraction of the time: ``--network "widths=[16,32,64],groups=8"``.

    Example: ``emnist-diff train vae --data DIR --output vae``
    """

    base_channels: int = width(64)

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        widths = [self.base_channels * level for level in (1, 2, 4)]
        family = component("vae", widths=widths, latent_channels=2, kl_weight=1e-6, groups=32)
        return document_001(family=family, epochs=20, lr=1e-4, sample_every=4)


@attrs.frozen
class ConvAutoencoder:
    """Document 004's convolutional autoencoder.

    Example: ``emnist-diff train ae-conv --data DIR --output ae``
    """

    latent: int = setting(16, "numbers of a latent", between(1, 16_384))

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return document_004(family=component("conv_ae", latent=self.latent), epochs=100)


@attrs.frozen
class MlpAutoencoder:
    """Document 004's autoencoder of dense layers.

    Example: ``emnist-diff train ae-mlp --data DIR --output ae``
    """

    latent: int = setting(16, "numbers of a latent", between(1, 16_384))

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return document_004(family=component("mlp_ae", latent=self.latent), epochs=25)
