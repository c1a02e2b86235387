"""A denoiser of latents with the codec that they come from."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

from emnist_diff.conditions import RowConditions
from emnist_diff.protocols import Denoiser
from emnist_diff.spaces import ConditionSpace
from emnist_diff.timeline import ForwardProcess, PredictionType
from emnist_diff_plugins.containers.codecs import Codec


@attrs.frozen(eq=False, slots=False)
class Coded:
    """`denoiser` as it is, module, variants and activations included; its states are shown, and made of images, by
    `codec`."""

    denoiser: Denoiser
    codec: Codec

    def __getattr__(self, name: str) -> Any:
        """What the denoiser offers beyond `Denoiser`."""
        if name.startswith("__") or name == "denoiser":
            raise AttributeError(name)
        return getattr(self.denoiser, name)

    @property
    def prediction_type(self) -> PredictionType:
        """The denoiser's."""
        return self.denoiser.prediction_type

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent."""
        return tuple(self.denoiser.shape)

    @property
    def conditions(self) -> ConditionSpace:
        """The denoiser's."""
        return self.denoiser.conditions

    @property
    def process(self) -> ForwardProcess:
        """The denoiser's."""
        return self.denoiser.process

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of the codec's images."""
        return self.codec.header.image_shape

    def predict(self, x: Tensor, t: Tensor, conds: RowConditions) -> Tensor:
        """The denoiser's prediction of latents."""
        return self.denoiser.predict(x, t, conds)

    def decode(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W), of states (B, *shape); an image's bits do not depend on B."""
        return self.codec.decode(x)

    def encode(self, images: Tensor) -> Tensor:
        """`protocols.Encodes`: states (B, *shape) of images (B, C, H, W) in [0, 1]."""
        return self.codec.encode(images)
