"""Euler's method with fresh noise at every step."""

from __future__ import annotations

import attrs
from attrs import validators as v

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import ancestral_step
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class EulerAncestral(Diffusion):
    """Ancestral sampling in sigma, as k-diffusion has it: an Euler step to below the next level, and noise up to it.
    eta = 0 is Euler; on equal noise levels it has the law of DDIM with the same eta. Noise is
    added to the state, whatever it shows: of latents it is in latents. Of flows see `flow_euler_ancestral`.

    Example: ``--scheduler "euler_ancestral:eta=0.5"``
    """

    flow_counterpart = "flow_euler_ancestral"
    spacing: str = spacing_field("karras")
    eta: float = attrs.field(
        default=1.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "share of DDPM's noise, 0 … 1"}
    )
    s_noise: float = attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "factor on the noise"})

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return SchedulerResult(ancestral_step(start, step, self.eta, self.s_noise), start.x0)
