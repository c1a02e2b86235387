"""Shows the states of a trajectory file as images, for whoever is fed from it."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from emnist_diff.plugins import Registry
from emnist_diff_plugins import rebuild
from emnist_diff_trajectory.pictures import are_pictures
from emnist_diff_trajectory.pixels import as_images
from emnist_diff_trajectory.reader import Trajectory


@attrs.define(eq=False)
class FileDecoder:
    """From states (B, *shape) of a file to images (B, C, H, W) in [0, 1]: `RunHeader.decode` of what is no run.

    registry, checkpoint: where the codec of a latent model is looked for when it is first asked; see `rebuild.decoder`,
    whose errors a call raises. The last answer is kept, because several sinks ask for pictures of the same step.
    """

    trajectory: Trajectory
    registry: Registry
    checkpoint: str | None = None
    _decode: Any = attrs.field(init=False, default=None)
    _states: Tensor | None = attrs.field(init=False, default=None)
    _images: Tensor | None = attrs.field(init=False, default=None)

    def __call__(self, x: Tensor) -> Tensor:
        if self._images is None or x is not self._states:
            self._images, self._states = self._shown(x), x
        return self._images

    def _shown(self, x: Tensor) -> Tensor:
        if self._decode is None:
            with np.errstate(invalid="ignore"):  # what is not finite is refused where it is read
                pictures = are_pictures(self.trajectory)
            if pictures:
                self._decode = as_images
            else:
                numpy_to_numpy = rebuild.decoder(self.trajectory, self.registry, self.checkpoint)
                self._decode = lambda x: torch.from_numpy(numpy_to_numpy(np.ascontiguousarray(x.numpy())))
        images: Tensor = self._decode(x)
        return images
