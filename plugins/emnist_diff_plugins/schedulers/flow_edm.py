"""The stochastic sampler of EDM on a flow."""

from __future__ import annotations

import attrs
import numpy as np

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import FlowSchedule, Level, Timeline
from emnist_diff_plugins.schedulers._churn import (
    churn_field,
    churned_heun,
    gammas,
    largest_field,
    noise_field,
    require_churn,
    smallest_field,
)
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._flow import Flow, alpha_bar
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class FlowEdm(Flow):
    """`edm` on a flow: Heun in sigma = s / (1 − s), with churn (Karras et al., 2022, arXiv:2206.00364, algorithm 2).

    Noise is added at the end of the step before, as `edm` does, so that recorded states are those that the network saw.
    The first step starts at pure noise, which cannot be raised, and is Euler's. Without churn `flow_heun`, whose steps
    are straight in s, is the plainer choice. Of latents the noise is in latents.

    Example: ``--scheduler "flow_edm:s_churn=10,s_noise=1.003"``
    """

    diffusion_counterpart = "edm"
    s_churn: float = churn_field()
    s_tmin: float = smallest_field()
    s_tmax: float | None = largest_field()
    s_noise: float = noise_field()

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        require_churn(self)

    def timeline(self, process: FlowSchedule, steps: int) -> Timeline:
        s = self.grid(steps)
        with np.errstate(divide="ignore"):
            sigma = s / (1.0 - s)
        gamma = gammas(self, sigma)
        raised = np.where(gamma > 0, _level(np.where(gamma > 0, sigma * (1.0 + gamma), 1.0)), s)
        ends = zip((process.time_scale * s[1:]).tolist(), alpha_bar(s[1:]).tolist(), strict=True)
        levels = [(Level(timestep, power, 1.0),) for timestep, power in ends]
        inner = tuple(() if np.isinf(start) else level for start, level in zip(sigma[:-1], levels, strict=True))
        alpha_bars = alpha_bar(raised)
        return Timeline(process.time_scale * raised, alpha_bars, np.append(alpha_bars[1:], 1.0), "flow", (*inner, ()))

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return churned_heun(start, step, estimate, self.s_noise)


def _level(sigma: np.ndarray) -> np.ndarray:
    """s of noise-to-signal ratios."""
    out: np.ndarray = sigma / (1.0 + sigma)
    return out
