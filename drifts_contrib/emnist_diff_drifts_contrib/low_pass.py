"""Low-pass conditioning: the coarse content is a reference's, the fine content the model's."""

from __future__ import annotations

from typing import Literal

import attrs
import torch.nn.functional as F
from attrs import validators as v
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_drifts_contrib._files import digest_field
from emnist_diff_drifts_contrib._images import Known, known_field, replaced
from emnist_diff_drifts_contrib._levels import noised


@attrs.frozen
class LowPass:
    """x' = x + φ(y_t) − φ(x), with y_t = signal · y + noise · z, z ~ N(0, 1) anew at each step, at the level where the
    step ends: iterative latent variable refinement (Choi et al., 2021, "ILVR", arXiv:2108.02938, algorithm 1).

    φ is a linear low-pass filter: down by `factor` and up again, both by `kernel`, with its support widened on the way
    down so that nothing folds over. The larger the factor, the less is taken of the reference.

    `since` and `until` bound the steps, in fractions of the run from noise (0) to image (1). A last step that is left
    to the model gives up the exact agreement for clean edges.

    Example: ``--drift "low_pass:reference=example:letter.png,factor=4,until=0.8"``
    """

    reference: str = attrs.field(
        metadata={"help": "the reference: a picture, an array of a state in .npy, or a folder", "aliases": ("image",)}
    )
    factor: int = attrs.field(
        default=4, validator=v.ge(2), metadata={"help": "N of the filter; divides height and width; at least 2"}
    )
    kernel: Literal["bicubic", "bilinear"] = attrs.field(
        default="bicubic",
        validator=v.in_(("bicubic", "bilinear")),
        metadata={"help": "of the filter: bicubic, as in the paper's program, or bilinear"},
    )
    since: float = attrs.field(
        default=0.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "first step, as a fraction of the run"}
    )
    until: float = attrs.field(
        default=1.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "last step, as a fraction of the run"}
    )
    reference_sha256: str = digest_field("reference")
    _known: Known = known_field("reference")

    def __attrs_post_init__(self) -> None:
        if self.since > self.until:
            raise ConfigError(f"low_pass: since = {self.since:g} comes after until = {self.until:g}")

    def encoded(self, denoiser: Denoiser) -> LowPass:
        """See `protocols.HoldsImages`."""
        return replaced(self, _known=self._known.encoded(denoiser))

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """See `protocols.Drift`."""
        self._known.shaped(shape)
        if len(shape) != 3 or shape[1] % self.factor or shape[2] % self.factor:
            raise ConfigError(
                f"low_pass: factor = {self.factor} does not divide states of shape {shape} — it divides height and "
                "width of images (C, H, W)"
            )

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return not self.since <= at.frac <= self.until

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        if not self.since <= step.at.frac <= self.until:
            return x
        self.require_shape(tuple(x.shape[1:]))
        reference = noised(self._known.like(x, step.sample_ids), step.noise(), step)
        return x + low_pass(reference - x, self.factor, self.kernel)  # φ is linear


def low_pass(x: Tensor, factor: int, kernel: str) -> Tensor:
    """φ of images (B, C, H, W), whose sides `factor` divides; kernel: ``bicubic`` or ``bilinear``."""
    height, width = x.shape[-2:]
    small = F.interpolate(x, (height // factor, width // factor), mode=kernel, antialias=True, align_corners=False)
    return F.interpolate(small, (height, width), mode=kernel, align_corners=False)
