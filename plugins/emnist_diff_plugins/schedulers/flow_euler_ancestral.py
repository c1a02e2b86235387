"""Euler's method on a flow with fresh noise at every step."""

from __future__ import annotations

import attrs
from attrs import validators as v

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._flow import Flow
from emnist_diff_plugins.schedulers._moves import ancestral_step
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class FlowEulerAncestral(Flow):
    """`euler_ancestral` on a flow: a step to below the next level, and noise up to it. eta = 0 is `flow_euler`.

    A state x = (1 − s) x_0 + s eps, divided by 1 − s, is one of a diffusion at sigma = s / (1 − s), and the step there
    is k-diffusion's: eta = 1 draws as much noise as DDPM, and samples have the flow's own distribution. At eta = 1 the
    first step, from pure noise, draws all its noise anew. The levels and the noise are those of the state, whatever it
    shows: of latents the noise is in latents, and the decoder never sees a noisy one.

    Example: ``--scheduler "flow_euler_ancestral:eta=0.5,shift=3"``
    """

    diffusion_counterpart = "euler_ancestral"
    eta: float = attrs.field(
        default=1.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "share of DDPM's noise, 0 … 1"}
    )
    s_noise: float = attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "factor on the noise"})

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return SchedulerResult(ancestral_step(start, step, self.eta, self.s_noise), start.x0)
