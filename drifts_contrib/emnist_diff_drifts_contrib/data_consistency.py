"""Data consistency: the image agrees with a linear measurement of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs
from attrs import validators as v
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_drifts_contrib._files import array, digest_field
from emnist_diff_drifts_contrib._images import Known, known_field, replaced
from emnist_diff_drifts_contrib._levels import noise_estimate
from emnist_diff_drifts_contrib._masks import REGIONS, Mask, mask_setting
from emnist_diff_drifts_contrib._operators import Averaged, Blurred, Masked, Matrix, Operator


def _operator(asked: DataConsistency) -> Operator:
    """What `operator` and its setting mean. Raises `ConfigError` where that setting is missing."""
    if asked.operator == "mask":
        if not asked.mask:
            raise ConfigError("data_consistency: operator mask needs mask, which says what is seen")
        return Masked(Mask.read(asked.mask))
    if asked.operator == "matrix":
        if not asked.matrix:
            raise ConfigError("data_consistency: operator matrix needs matrix, a .npy file of an array (m, n)")
        return Matrix.of(asked.matrix, array(asked.matrix), asked.rcond)
    return Averaged(asked.factor) if asked.operator == "down" else Blurred(asked.sigma, asked.rcond)


@attrs.frozen
class DataConsistency:
    """x' = x + strength · A⁺ (signal · y + noise · A e − A x), at the rates of the level where the step ends: in what
    A measures, the state is that of an image with measurement y; in what it does not, nothing changes. With strength 1
    the final image satisfies A x = y.

    This is the null-space projection x0' = A⁺ y + (1 − A⁺ A) x0 of DDNM (Wang, Yu and Zhang, 2023, arXiv:2212.00490,
    equation 13) for x = signal · x0 + noise · e. The noise e is

    - ``noise=predicted``: that of base and forces in this step; with the scheduler ddim this is DDNM to the letter,
    - ``noise=drawn``: drawn anew, as in Song, Shen, Xing and Ermon (2022, arXiv:2111.08005); with a mask this is
      `inpaint`.

    A is one of: ``mask``, the elements where `mask` is 1; ``down``, the means of squares of `factor` × `factor`;
    ``blur``, a Gaussian of `sigma` pixels; ``matrix``, any (m, n) over flattened states. y comes from `measurement`, or
    is A of the clean `image`.

    Example: ``--drift "data_consistency:operator=down,factor=4,image=example:letter.png"``
    """

    operator: Literal["mask", "down", "blur", "matrix"] = attrs.field(
        default="down", metadata={"help": "A: mask, down, blur or matrix"}
    )
    image: str = attrs.field(
        default="", metadata={"help": "clean image of which y is measured: a picture, or a state in .npy"}
    )
    measurement: str = attrs.field(
        default="", metadata={"help": "y itself, in place of image: a picture, or an array in .npy"}
    )
    mask: str = mask_setting("operator mask: what is seen, 1 or white", default="")
    factor: int = attrs.field(
        default=4, validator=v.ge(1), metadata={"help": "operator down: side of a square in pixels, at least 1"}
    )
    sigma: float = attrs.field(
        default=1.0,
        converter=float,
        validator=v.gt(0),
        metadata={"help": "operator blur: standard deviation in pixels, more than 0"},
    )
    matrix: str = attrs.field(default="", metadata={"help": "operator matrix: an array (m, n) in .npy"})
    rcond: float = attrs.field(
        default=0.01,
        validator=v.and_(v.ge(0), v.lt(1)),
        metadata={"help": "blur, matrix: singular values below this share of the largest count as zero, 0 … 1"},
    )
    strength: float = attrs.field(
        default=1.0,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the way to agreement, 0 … 1"},
    )
    noise: Literal["predicted", "drawn"] = attrs.field(
        default="predicted", metadata={"help": "noise of the measured part: predicted (DDNM) or drawn anew"}
    )
    image_sha256: str = digest_field("image", ("",))
    measurement_sha256: str = digest_field("measurement", ("",))
    mask_sha256: str = digest_field("mask", ("", *REGIONS))
    matrix_sha256: str = digest_field("matrix", ("",))
    _image: Known | None = known_field("image", optional=True)
    _measurement: Known | None = known_field("measurement", optional=True)
    _operator: Operator = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_operator, takes_self=True)
    )

    def __attrs_post_init__(self) -> None:
        if bool(self.image) == bool(self.measurement):
            raise ConfigError("data_consistency: name an image to be measured, or a measurement — one of the two")

    def encoded(self, denoiser: Denoiser) -> DataConsistency:
        """See `protocols.HoldsImages`."""
        image = None if self._image is None else self._image.encoded(denoiser)
        operator = self._operator
        if isinstance(operator, Masked):
            operator = Masked(operator.mask.encoded(denoiser))
        return replaced(self, _image=image, _operator=operator)

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """See `protocols.Drift`."""
        out = self._operator.out_shape(shape)
        if self._image is not None:
            self._image.shaped(shape)
        if self._measurement is not None:
            self._measurement.shaped(out)

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return self.strength == 0

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        shape = tuple(x.shape[1:])
        self.require_shape(shape)
        signal, noise = step.at.rates_next
        away = -x
        if noise:
            away = noise * (noise_estimate(step) if self.noise == "predicted" else step.noise()) - x
        missing = signal * self._measured(x, step.sample_ids) + self._operator.apply(away)
        return x + self.strength * self._operator.pinv(missing, shape)

    def _measured(self, x: Tensor, sample_ids: Sequence[int]) -> Tensor:
        """y, (1, *out) or (B, *out), beside states x (B, *shape)."""
        if self._image is not None:
            return self._operator.apply(self._image.like(x, sample_ids).reshape(-1, *x.shape[1:]))
        assert self._measurement is not None  # it is one or the other
        out = self._operator.out_shape(tuple(x.shape[1:]))
        return self._measurement.like(x.new_empty(1, *out), sample_ids).reshape(-1, *out)
