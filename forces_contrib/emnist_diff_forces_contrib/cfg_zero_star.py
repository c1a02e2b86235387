"""CFG-Zero*: the unconditional prediction rescaled, the first steps skipped."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from attrs import validators as v
from emnist_diff.conditions import NULL, Cond, Predictions
from emnist_diff.parameterization import convert
from emnist_diff.schedules import Schedule
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import PredictionType, StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._guidance import Guidance, scale_field
from emnist_diff_forces_contrib._per_sample import dot

_FLOOR = 1e-8


def optimised_scale(own: Tensor, null: Tensor) -> Tensor:
    """s* = ⟨e_own, e_null⟩ / |e_null|², per sample, (B, 1, …): the multiple of e_null nearest to e_own."""
    return dot(own, null) / (dot(null, null) + _FLOOR)


@attrs.frozen
class CfgZeroStar(Guidance):
    """s* e_null + s (e_own − s* e_null), with s* = ⟨e_own, e_null⟩ / |e_null|² of each sample, and a prediction of no
    motion at the first `zero_steps` steps; in place of the base.

    Fan, Zheng, Yeh and Liu, 2025, "CFG-Zero*: improved classifier-free guidance for flow matching models",
    arXiv:2503.18886. s* is taken of what the network predicts. The paper is about velocities, and
    no motion is a velocity of 0 on flows; on diffusions it is v = 0, whichever way the network says it: a prediction of
    no noise, by contrast, would move the state a long way. The network is not asked by this force at those steps.

    Example: ``--base cond --force "cfg_zero_star:scale=3,zero_steps=1"``
    """

    scale: Schedule = scale_field()
    zero_steps: int = attrs.field(
        default=1,
        validator=v.ge(0),
        metadata={"help": "steps without motion at the start; the paper: 4 % of them", "aliases": ("zero_init_steps",)},
    )

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        if at.index < self.zero_steps:
            return ()
        return (self.own,) if self.scale(at) == 1 else (NULL, self.own)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        at = step.at
        if at.index < self.zero_steps:
            velocity: PredictionType = "flow" if at.process == "flow" else "v_prediction"
            return convert(torch.zeros_like(step.x), step.x, at.rates, velocity, step.prediction_type)
        own, scale = predictions[self.own], self.scale(at)
        if scale == 1:
            return own
        null = optimised_scale(own, predictions[NULL]) * predictions[NULL]
        return null + scale * (own - null)
