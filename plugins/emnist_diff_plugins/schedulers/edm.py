"""The stochastic sampler of EDM."""

from __future__ import annotations

import math

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import at_sigma, straight
from emnist_diff_plugins.schedulers._process import Process, level, timeline_through
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class Edm(Diffusion):
    """Heun with churn: Karras et al., 2022, arXiv:2206.00364, algorithm 2. s_churn = 0 is `heun`.

    The algorithm adds noise at the beginning of a step, before it evaluates the network. Here the same noise is added
    at the end of the step before, so that recorded states are the ones that the network saw, and timeline and file hold
    the raised levels; at the first step, whose state is noise anyway, the initial noise is taken as that of the raised
    level.

    Example: ``--scheduler "edm:s_churn=40,s_tmin=0.05,s_tmax=50,s_noise=1.003"``
    """

    flow_counterpart = "flow_heun"
    spacing: str = spacing_field("karras")
    s_churn: float = attrs.field(default=0.0, validator=v.ge(0), metadata={"help": "noise added, over all steps"})
    s_tmin: float = attrs.field(default=0.0, validator=v.ge(0), metadata={"help": "smallest sigma that is churned"})
    s_tmax: float | None = attrs.field(
        default=None,
        validator=v.optional(v.gt(0)),
        metadata={"help": "largest sigma that is churned; none when left out"},
    )
    s_noise: float = attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "factor on the noise"})

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.s_churn and (self.s_tmin or self.s_tmax is not None or self.s_noise != 1):
            raise ConfigError("s_tmin, s_tmax and s_noise shape the churn, and there is none — use s_churn")

    def timeline(self, process: Process, steps: int) -> Timeline:
        plain = timeline_through(process, self.grid(process, steps))
        sigma = plain.sigma
        top = math.inf if self.s_tmax is None else self.s_tmax
        churned = (sigma >= self.s_tmin) & (sigma <= top) & np.isfinite(sigma)  # pure noise cannot be made noisier
        gamma = np.where(churned, min(self.s_churn / steps, 2**0.5 - 1), 0.0)
        raised = np.where(gamma > 0, process.timestep(np.where(gamma > 0, sigma * (1.0 + gamma), 1.0)), plain.timestep)
        inner = tuple(
            () if math.isinf(sigma[i]) else (level(process, float(plain.timestep[i + 1]), 1.0),)
            for i in range(steps - 1)
        )
        return timeline_through(process, raised, (*inner, ()))

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        if not at.inner:
            return SchedulerResult(straight(start, at.rates_next), start.x0)
        target = at.inside(0).sigma  # below at.sigma_next by the churn of the step to come
        signal, noise = at_sigma(target, at)
        x = straight(start, (signal, noise))
        inner = estimate(x, 0)
        x = x + signal * (target - at.sigma) / 2.0 * (inner.epsilon - start.epsilon)
        if at.sigma_next > target:
            raised = at.rates_next[0]
            x = raised / signal * x + raised * (at.sigma_next**2 - target**2) ** 0.5 * self.s_noise * step.noise()
        return SchedulerResult(x, start.x0)
