"""From a prediction to estimates of image and noise, and the bounds on the image."""

from __future__ import annotations

import math

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.brief import briefly
from emnist_diff.errors import ConfigError
from emnist_diff.parameterization import epsilon_from_x0, to_epsilon, to_x0
from emnist_diff.timeline import PredictionType, StepInfo


@briefly
@attrs.frozen(eq=False)
class Estimates:
    """What an evaluation of the network says: the image x0 and the noise epsilon, (B, *shape) each; together they
    make up the state that was looked at."""

    x0: Tensor
    epsilon: Tensor


@attrs.frozen(kw_only=True)
class X0Rule:
    """What is done to x0 estimates. The noise is then the one that fits the bounded image."""

    clip: bool = attrs.field(
        default=True,
        metadata={
            "help": "clip the x0 estimate to the range that the model's images have",
            "aliases": ("clip_sample",),
        },
    )
    threshold: float | None = attrs.field(
        default=None,
        validator=v.optional(v.and_(v.gt(0), v.le(1))),
        metadata={
            "help": "instead of clipping, scale each sample by this quantile of |x0| where that is beyond the range, "
            "or, of latents, which have none, beyond that quantile of a standard normal",
            "aliases": ("dynamic_thresholding_ratio",),
        },
    )
    threshold_max: float | None = attrs.field(
        default=None,
        validator=v.optional(v.ge(1)),
        metadata={"help": "scale by no more than this, in units of the range", "aliases": ("sample_max_value",)},
    )

    def __attrs_post_init__(self) -> None:
        if self.threshold_max is not None and self.threshold is None:
            raise ConfigError("threshold_max bounds what threshold does, and there is none — use threshold")

    def bounded(self, x0: Tensor, limit: float | None) -> Tensor | None:
        """The bounded image, or None where the rule leaves images alone. limit: half-width of the range.

        States without a range, such as latents, are made to have unit variance. A sample is thresholded there where its
        quantile is larger than a standard normal has it, as strong guidance makes it, and scaled down to that.
        """
        if self.threshold is not None:
            bound = normal_quantile(self.threshold) if limit is None else limit
            return thresholded(x0, self.threshold, bound, self.threshold_max)
        if self.clip and limit is not None:
            return x0.clamp(-limit, limit)
        return None

    def estimates(
        self, prediction: Tensor, x: Tensor, at: StepInfo, kind: PredictionType, limit: float | None
    ) -> Estimates:
        """The estimates of a prediction made at `x`, (B, *shape) both."""
        x0 = to_x0(prediction, x, at.rates, kind)
        bounded = self.bounded(x0, limit)
        if bounded is None:
            return Estimates(x0, to_epsilon(prediction, x, at.rates, kind))
        return Estimates(bounded, epsilon_from_x0(bounded, x, at.rates))


def normal_quantile(share: float) -> float:
    """The q with P(|z| ≤ q) = share, for z ~ N(0, 1); infinite at 1."""
    return math.sqrt(2.0) * float(torch.special.erfinv(torch.tensor(share, dtype=torch.float64)))


def thresholded(x0: Tensor, quantile: float, limit: float = 1.0, largest: float | None = None) -> Tensor:
    """Dynamic thresholding, each sample by itself: Saharia et al., 2022, arXiv:2205.11487, section 2.3.

    x0: (B, *shape).  quantile: p, 0 … 1, of the absolute values.  limit: half-width of the range.  largest: bound on
    the divisor, in units of `limit`.
    """
    sizes = x0.abs().flatten(1).sort(dim=1).values  # torch.quantile refuses more than 16 million elements
    below = math.floor(place := quantile * (sizes.shape[1] - 1))
    above = min(below + 1, sizes.shape[1] - 1)
    size = torch.lerp(sizes[:, below], sizes[:, above], place - below) / limit
    scale = size.clamp(1.0, largest).view(-1, *(1,) * (x0.dim() - 1))
    return x0.clamp(-scale * limit, scale * limit) / scale
