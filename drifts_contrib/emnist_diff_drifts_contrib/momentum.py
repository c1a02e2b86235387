"""Momentum: the state goes on a little as it went before."""

from __future__ import annotations

import attrs
from attrs import validators as v
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_drifts_contrib._levels import is_last

_BEFORE = "before"


@attrs.frozen
class Momentum:
    """x' = x + beta (x − x_before), where x is what the scheduler made of this step and x_before what it had made of
    the one before: Nesterov's extrapolation (1983), with the move of the sampler in the place of a gradient step. For
    momentum in diffusion samplers see Wizadwongsa, Chinchuthakun, Khungurn, Raj and Suwajanakorn (2023,
    arXiv:2307.11118).

    Nothing happens at the first step, which has none before it, and at the image, behind which nothing comes that
    would make good what the extrapolation overshoots. A negative beta brakes.

    Example: ``--drift "momentum:beta=0.2"``
    """

    beta: float = attrs.field(
        default=0.1,
        converter=float,
        validator=v.and_(v.gt(-1), v.lt(1)),
        metadata={"help": "share of the last move that is made again, between −1 and 1"},
    )

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return self.beta == 0 or at.index == 0 or is_last(at)

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        step.remember(_BEFORE, x)
        before = step.memory.get(_BEFORE)
        return x if before is None or is_last(step.at) else x + self.beta * (x - before)
