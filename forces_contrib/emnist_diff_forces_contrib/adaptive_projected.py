"""Adaptive projected guidance."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from attrs import validators as v
from emnist_diff.conditions import NULL, Cond, Predictions
from emnist_diff.parameterization import to_x0
from emnist_diff.schedules import Schedule
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._differences import convert_difference
from emnist_diff_forces_contrib._guidance import Guidance, scale_field
from emnist_diff_forces_contrib._per_sample import dot, norm

_FLOOR = 1e-12


def parallel(delta: Tensor, to: Tensor) -> Tensor:
    """The part of `delta` along `to`, per sample; (B, *shape) all."""
    unit = to / norm(to).clamp_min(_FLOOR)
    return dot(delta, unit) * unit


@attrs.frozen
class AdaptiveProjected(Guidance):
    """x0_own + (s − 1) (D⊥ + eta · D∥), in images, with D the difference of the image estimates x0_own − x0_null,
    split along x0_own; in place of the base.

    Sadat, Hilliges and Weber, 2024, "Eliminating oversaturation and artifacts of high guidance scales in diffusion
    models", arXiv:2410.02416. Before it is split, D is joined by its past, D ← D + momentum · D_before,
    and shortened to a norm of `threshold` at most, each sample by itself. D_before is remembered from step to step,
    so that a walk may stop and go on. eta = 1 without momentum and threshold is plain guidance of scale s.

    Example: ``--base cond --force "adaptive_projected:scale=6,eta=0,momentum=-0.5,threshold=5"``
    """

    scale: Schedule = scale_field(5.0)
    eta: float = attrs.field(
        default=0.0, converter=float, validator=v.ge(0), metadata={"help": "share of the part along the image, ≥ 0"}
    )
    momentum: float = attrs.field(
        default=-0.5,
        converter=float,
        validator=v.and_(v.gt(-1), v.lt(1)),
        metadata={"help": "share of the past in the difference, between -1 and 1; the paper's are negative"},
    )
    threshold: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        validator=v.optional(v.gt(0)),
        metadata={"help": "largest L2 norm of a sample's difference of images, r; no bound when left out"},
    )

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (self.own,) if self.scale(at) == 1 and self.momentum == 0 else (NULL, self.own)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        own, rates, kind, scale = predictions[self.own], step.at.rates, step.prediction_type, self.scale(step.at)
        if scale == 1 and self.momentum == 0:
            return own
        delta = convert_difference(own - predictions[NULL], rates, kind, "sample")
        if self.momentum != 0:
            if "delta" in step.memory:
                delta = delta + self.momentum * step.memory["delta"]
            step.remember("delta", delta)
        if self.threshold is not None:
            delta = delta * (self.threshold / norm(delta).clamp_min(_FLOOR)).clamp(max=1.0)
        along = parallel(delta, to_x0(own, step.x, rates, kind))
        update = delta - along + self.eta * along
        return own + (scale - 1.0) * convert_difference(update, rates, "sample", kind)
