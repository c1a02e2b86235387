"""CFG++: guided image, unguided noise."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from attrs import validators as v
from emnist_diff.conditions import NULL, Cond, Predictions
from emnist_diff.errors import ConfigError
from emnist_diff.parameterization import convert, epsilon_from_x0, to_epsilon, to_x0
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._guidance import Guidance


def plain_scale(at: StepInfo, scale: float) -> float:
    """The scale s of plain guidance with which DDIM makes the move that CFG++ makes with `scale`.

    With D = e_own − e_null in noise, signal a and noise n of the level, a' and n' of the next one:

    - CFG++: x0 = (x − n (e_null + λ D)) / a, then x' = a' x0 + n' e_null: the coefficient of D is −λ a' n / a;
    - plain: x0 = (x − n (e_null + s D)) / a, then x' = a' x0 + n' (e_null + s D): it is −s (a' n / a − n').

    They are equal for s = λ σ / (σ − σ'), with σ = n / a: λ at the last step (σ' = 0) and where there is no signal,
    and large where steps are short. Differences of v and of velocities are multiples of D, so that s is the same there.
    """
    ratio = at.sigma_next / at.sigma  # 0 where sigma is infinite
    return scale / (1.0 - ratio)


@attrs.frozen
class CfgPp(Guidance):
    """The prediction with which DDIM takes the step of CFG++: to a' x0 + n' e_null, with x0 that of the guided noise
    e_null + λ (e_own − e_null); in place of the base.

    Chung, Kim, Park, Nam and Ye, 2024, "CFG++: manifold-constrained classifier free guidance for diffusion models",
    arXiv:2406.08070, algorithm 2. `scale` is λ, 0 … 1. That step is the one of plain guidance with another scale at
    each step, λ σ / (σ − σ'), which `plain_scale` derives. What is recorded as x0 is the scheduler's estimate at that
    larger scale and not the guided image of CFG++.

    The equality is that of DDIM with eta = 0, of Euler in sigma, and of Euler on a flow, none of which may clip:
    say ``--scheduler ddim:clip=false``. Where the model's images have a range, `clip` bounds the guided image instead.
    Schedulers that evaluate twice a step are refused; with those that remember, and with noise, it is only that scale.

    Example: ``--base cond --scheduler ddim:clip=false --force "cfg_pp:scale=0.6,clip=1"``
    """

    scale: float = attrs.field(
        default=0.6,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "lambda, 0 … 1: share of the class in the image estimate", "aliases": ("lambda",)},
    )
    clip: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        validator=v.optional(v.gt(0)),
        metadata={"help": "half-width of the range that the guided image is clipped to, e.g. 1; not when left out"},
    )

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        if at.offset > 0 or not at.sigma_next < at.sigma:
            raise ConfigError(
                "cfg_pp: its step is one from noise to image, and something evaluates inside of it — use a scheduler "
                "that evaluates once a step (ddim, euler, flow_euler) and no drift that asks the network"
            )
        return (NULL,) if self.scale == 0 else (NULL, self.own)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        at, x, kind = step.at, step.x, step.prediction_type
        null = predictions[NULL]
        own = null if self.scale == 0 else predictions[self.own]
        if self.clip is None:
            return null + plain_scale(at, self.scale) * (own - null)
        x0 = to_x0(null + self.scale * (own - null), x, at.rates, kind).clamp(-self.clip, self.clip)
        away = to_epsilon(null, x, at.rates, kind) - epsilon_from_x0(x0, x, at.rates)
        signal, noise = at.rates
        signal_next, noise_next = at.rates_next
        # the image whose own noise takes DDIM where x0 and the unguided noise would
        reached = x0 + noise_next / (signal_next - signal * noise_next / noise) * away
        return convert(reached, x, at.rates, "sample", kind)
