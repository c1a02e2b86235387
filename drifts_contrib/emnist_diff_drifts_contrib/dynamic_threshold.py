"""A bound on the state that each sample sets for itself."""

from __future__ import annotations

import math
from typing import Literal

import attrs
import torch
from attrs import validators as v
from emnist_diff.protocols import Denoiser
from emnist_diff.steps import DriftStep
from torch import Tensor

from emnist_diff_drifts_contrib._images import replaced
from emnist_diff_drifts_contrib._levels import noise_estimate

_FLOOR = 1e-12


@attrs.frozen
class DynamicThreshold:
    """Elements beyond ±s are clipped, and the whole is scaled by b / s, where s is the percentile of |x| of the sample,
    and at least b; samples within ±b stay as they are. Dynamic thresholding (Saharia et al., 2022, "Imagen",
    arXiv:2205.11487, section 2.3), which keeps images under strong guidance from saturating, moved to states:

    - ``of=state`` takes x itself, with the bound b = signal · limit + noise · q at the level where the step ends. q is
      the percentile of |N(0, 1)|, so that noise alone passes. In the image this is the paper's rule.
    - ``of=x0`` takes the image estimate in x = signal · x0 + noise · eps, with the noise that was predicted in this
      step and b = limit, and puts the same noise back: the paper's rule at every level, as it works in DDIM.

    `limit` is the range of the model's images, 1 of pixels. Latents have no range, but unit variance: where a model has
    none, limit is the percentile of |N(0, 1)|, and a sample is bounded that is larger than latents usually are.

    Scaling takes contrast from the whole sample where a few elements are too bright. Of the estimates at high noise,
    which reach far, it takes much: letters on black, which are at their bound almost everywhere, turn gray with
    ``of=x0``, and with the thresholding of schedulers alike. ``of=state`` leaves room for the noise.

    Example: ``--drift "dynamic_threshold:percentile=0.95"``
    """

    percentile: float = attrs.field(
        default=0.995,
        validator=v.and_(v.gt(0), v.lt(1)),
        metadata={"help": "share of the elements that s leaves unclipped, between 0 and 1"},
    )
    limit: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        validator=v.optional(v.gt(0)),
        metadata={"help": "bound of images, more than 0; when left out the model's range, or what a normal has of it"},
    )
    of: Literal["state", "x0"] = attrs.field(
        default="state", metadata={"help": "what is bounded: state, or x0, the image estimate in it"}
    )

    _limit: float = attrs.field(
        init=False,
        repr=False,
        eq=False,
        default=attrs.Factory(lambda drift: 1.0 if drift.limit is None else drift.limit, takes_self=True),
    )

    def encoded(self, denoiser: Denoiser) -> DynamicThreshold:
        """See `protocols.HoldsImages`: with the range of the denoiser's images for the limit, where none was given."""
        if self.limit is not None:
            return self
        limit = denoiser.process.clip_sample
        return replaced(self, _limit=normal_percentile(self.percentile) if limit is None else limit)

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        signal, noise = step.at.rates_next
        if self.of == "x0":
            rest = noise * noise_estimate(step)
            return threshold(x - rest, signal * self._limit, self.percentile) + rest
        return threshold(x, signal * self._limit + noise * normal_percentile(self.percentile), self.percentile)


def threshold(x: Tensor, bound: float, percentile: float) -> Tensor:
    """x clipped to ±s and scaled by bound / s, with s the larger of `bound` and the percentile of |x| of each sample,
    linear between neighbours in order; x (B, *shape)."""
    size = x.abs().flatten(1).sort(1).values
    place = percentile * (size.shape[1] - 1)
    low = min(int(place), max(0, size.shape[1] - 2))
    high = min(low + 1, size.shape[1] - 1)
    s = torch.lerp(size[:, low], size[:, high], place - low).clamp_min(max(bound, _FLOOR))
    s = s.view(-1, *(1,) * (x.dim() - 1))
    return torch.maximum(torch.minimum(x, s), -s) * (bound / s)


def normal_percentile(percentile: float) -> float:
    """The q with P(|z| ≤ q) = percentile, for z ~ N(0, 1)."""
    return math.sqrt(2.0) * float(torch.special.erfinv(torch.tensor(percentile, dtype=torch.float64)))
