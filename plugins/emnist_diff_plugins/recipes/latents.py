"""Models of the latents of a codec, which ``--codec`` names."""

from __future__ import annotations

from typing import Any

import attrs

from emnist_diff_plugins.recipes._shared import component, document_001, document_004, unet, width
from emnist_diff_plugins.recipes.pixels import flow

_EPSILON = component("diffusion", prediction="epsilon", beta_schedule="squaredcos_cap_v2")


@attrs.frozen
class Ldm:
    """Document 001's latent diffusion; guidance 0 samples without a class, as the document does.

    Example: ``emnist-diff train ldm --codec vae --data DIR``
    """

    base_channels: int = width(64)

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return document_001(codec="", family=self.network(), objective=_EPSILON)

    def network(self, **more: Any) -> dict[str, Any]:
        """The UNet of two levels."""
        return unet([self.base_channels, 2 * self.base_channels], **more)


@attrs.frozen
class LdmConcat(Ldm):
    """Document 001's conditioned latent diffusion: the class is a plane of its own beside the channels.

    Example: ``emnist-diff train ldm-concat --codec vae --data DIR``
    """

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return _guided(self.network(conditioning="concat"))


@attrs.frozen
class LdmCross(Ldm):
    """Document 001's latent diffusion with cross-attention: the class is one token of 128 numbers.

    Example: ``emnist-diff train ldm-cross --codec vae --data DIR --network tokens=4``
    """

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return _guided(self.network(conditioning="cross", tokens=1, cross_attention_dim=128))


@attrs.frozen
class LatentFlow(Ldm):
    """Document 001's rectified flow of latents.

    Example: ``emnist-diff train latent-rf --codec vae --data DIR``
    """

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        return document_001(codec="", family=self.network(), **flow())


@attrs.frozen
class Lddpm:
    """Document 004's latent diffusion: a dense network over the vectors of an autoencoder, and 1,000 linear levels.

    Example: ``emnist-diff train lddpm --codec ae --data DIR --only 5``
    """

    def expand(self) -> dict[str, Any]:
        """The settings of the training."""
        objective = component("diffusion", prediction="epsilon", beta_schedule="linear", beta_start=1e-4, beta_end=0.02)
        return document_004(
            codec="",
            family=component("film"),
            objective=objective,
            epochs=30,
            lr_schedule="constant",
            recommended={"guidance_scale": 1.0},  # the document has no guidance
        )


def _guided(family: dict[str, Any]) -> dict[str, Any]:
    scheduler = component("ddim", eta=0.05)
    recommended = {"scheduler": scheduler, "steps": 100, "guidance_scale": 3.0}
    return document_001(codec="", family=family, objective=_EPSILON, recommended=recommended)
