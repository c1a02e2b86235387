"""Linear multistep: Adams and Bashforth for the probability-flow ODE."""

from __future__ import annotations

import math

import attrs
from attrs import validators as v

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import adams_weights, sigma_before, straight
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class Lms(Diffusion):
    """Adams-Bashforth in sigma over the last `order` slopes, as k-diffusion has it, with the integrals of the
    polynomials exact. One evaluation a step.

    Example: ``--scheduler "lms:order=4" --steps 30``
    """

    spacing: str = spacing_field("karras")
    order: int = attrs.field(
        default=4, validator=v.and_(v.ge(1), v.le(6)), metadata={"help": "slopes that a step draws on, 1 … 6"}
    )

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        before = [step.memory[f"epsilon_{k}"] for k in range(1, len(step.memory) + 1)]
        sigmas = [at.sigma, *(sigma_before(step, k) for k in range(1, len(before) + 1))]
        while len(sigmas) > 1 and math.isinf(sigmas[-1]):  # no slope in sigma where there was no signal
            sigmas.pop()
        x = straight(start, at.rates_next)
        if len(sigmas) > 1:
            weights = adams_weights(sigmas, at.sigma_next)
            signal = at.rates_next[0]
            for weight, slope in zip(weights[1:], before, strict=False):
                x = x + signal * weight * (slope - start.epsilon)
        kept = [start.epsilon, *before][: self.order - 1]
        return SchedulerResult(x, start.x0, {f"epsilon_{k}": slope for k, slope in enumerate(kept, start=1)})
