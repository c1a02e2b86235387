"""States shown as images while a run is going on."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from emnist_diff.protocols import Denoiser


@attrs.define(eq=False)
class Decoder:
    """A denoiser's decoder: states (B, *shape) → images in [0, 1], (B, C, H, W).

    The last answer is kept, because several sinks ask for pictures of the same step.
    """

    _denoiser: Denoiser
    _device: torch.device
    _states: Tensor | None = attrs.field(init=False, default=None)
    _images: Tensor | None = attrs.field(init=False, default=None)

    def __call__(self, x: Tensor) -> Tensor:
        if self._images is None or x is not self._states:
            with torch.inference_mode():
                self._images = self._denoiser.decode(x.to(self._device))
            self._states = x
        return self._images
