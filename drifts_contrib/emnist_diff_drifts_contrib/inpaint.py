"""Inpainting: a part of the image is known, and the rest is drawn to go with it."""

from __future__ import annotations

import attrs
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import DriftStep
from torch import Tensor

from emnist_diff_drifts_contrib._files import digest_field
from emnist_diff_drifts_contrib._images import Known, known_field, replaced
from emnist_diff_drifts_contrib._levels import noised
from emnist_diff_drifts_contrib._masks import REGIONS, Mask, mask_field, mask_setting


@attrs.frozen
class Inpaint:
    """x' = m (signal · y + noise · z) + (1 − m) x, z ~ N(0, 1) anew at each step, with the rates of the level where
    the step ends: what is known of the image y, where the mask m is 1, replaces the state at every level (Lugmayr et
    al., 2022, "RePaint", arXiv:2201.09865, equations 8a and 8c). In the image the known part is exact.

    RePaint also goes back up a few levels and down again, so that both parts can agree (its "resampling"). The order of
    levels is the scheduler's, not a drift's; a Langevin corrector behind this drift, and this one again, do what
    resampling does at one level.

    A picture has the height and width of the images, and stands for values −1 … 1; a model over latents encodes it.
    Of a folder, samples take an image each in turn.

    Example: ``--scheduler ddim --drift "inpaint:image=example:letter.png,mask=left"``
    """

    image: str = attrs.field(metadata={"help": "what is known: a picture, an array of a state (.npy), or a folder"})
    mask: str = mask_setting("where it is known, 1 or white")
    image_sha256: str = digest_field("image")
    mask_sha256: str = digest_field("mask", REGIONS)
    _known: Known = known_field("image")
    _where: Mask = mask_field()

    def encoded(self, denoiser: Denoiser) -> Inpaint:
        """See `protocols.HoldsImages`."""
        return replaced(self, _known=self._known.encoded(denoiser), _where=self._where.encoded(denoiser))

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """See `protocols.Drift`."""
        self._known.shaped(shape)
        self._where.shaped(shape)

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        known = noised(self._known.like(x, step.sample_ids), step.noise(), step)
        return x + self._where.like(x) * (known - x)
