"""The stochastic sampler of EDM."""

from __future__ import annotations

import math

import attrs
import numpy as np

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import Timeline
from emnist_diff_plugins.schedulers._churn import (
    churn_field,
    churned_heun,
    gammas,
    largest_field,
    noise_field,
    require_churn,
    smallest_field,
)
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._process import Process, level, timeline_through
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class Edm(Diffusion):
    """Heun with churn: Karras et al., 2022, arXiv:2206.00364, algorithm 2. s_churn = 0 is `heun`.

    The algorithm adds noise at the beginning of a step, before it evaluates the network. Here the same noise is added
    at the end of the step before, so that recorded states are the ones that the network saw, and timeline and file hold
    the raised levels; at the first step, whose state is noise anyway, the initial noise is taken as that of the raised
    level. Noise is added to the state, whatever it shows: of latents it is in latents. Of flows see `flow_edm`.

    Example: ``--scheduler "edm:s_churn=40,s_tmin=0.05,s_tmax=50,s_noise=1.003"``
    """

    flow_counterpart = "flow_edm"
    spacing: str = spacing_field("karras")
    s_churn: float = churn_field()
    s_tmin: float = smallest_field()
    s_tmax: float | None = largest_field()
    s_noise: float = noise_field()

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        require_churn(self)

    def timeline(self, process: Process, steps: int) -> Timeline:
        plain = timeline_through(process, self.grid(process, steps))
        sigma = plain.sigma
        gamma = gammas(self, sigma)
        raised = np.where(gamma > 0, process.timestep(np.where(gamma > 0, sigma * (1.0 + gamma), 1.0)), plain.timestep)
        inner = tuple(
            () if math.isinf(sigma[i]) else (level(process, float(plain.timestep[i + 1]), 1.0),)
            for i in range(steps - 1)
        )
        return timeline_through(process, raised, (*inner, ()))

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return churned_heun(start, step, estimate, self.s_noise)
