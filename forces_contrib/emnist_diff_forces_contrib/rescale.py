"""The contrast of the conditional prediction, given back to the guided one."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from attrs import validators as v
from emnist_diff.conditions import Cond, Predictions
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._per_sample import deviation
from emnist_diff_forces_contrib._targets import Target, check, condition, target_field


@attrs.frozen
class Rescale:
    """e' − e, with e' = phi · e · std(e_own) / std(e) + (1 − phi) · e, and e the sum of base and forces so far.

    Lin, Liu, Li and Yang, 2024, "Common diffusion noise schedules and sample steps are flawed", arXiv:2305.08891,
    section 3.4, equations 14 to 16. The standard deviations are those of each sample's prediction, over all elements,
    as the network predicts it: of the noise, of v, of a velocity. Corrects what stands before it, so put it last.
    On base ``cond`` with no other force it changes nothing.

    Example: ``--guidance-scale 6 --force "rescale:phi=0.7"``
    """

    target: Target = target_field()
    phi: float = attrs.field(
        default=0.7,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the rescaled prediction, 0 … 1", "aliases": ("guidance_rescale",)},
    )

    def bind(self, space: ConditionSpace) -> Rescale:
        """Itself. Raises `UnknownName` for a class that the model does not have."""
        check(self.target, space)
        return self

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.phi == 0

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (condition(self.target),)

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        size = deviation(step.sum)
        own = deviation(predictions[condition(self.target)])
        ratio = torch.where(size > 0, own / size, torch.ones_like(size))  # what has no contrast cannot be given any
        return self.phi * (ratio - 1.0) * step.sum
