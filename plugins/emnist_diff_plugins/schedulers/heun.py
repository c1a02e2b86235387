"""Heun's method for the probability-flow ODE: second order, two evaluations a step."""

from __future__ import annotations

import attrs

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import Level
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import straight
from emnist_diff_plugins.schedulers._process import Floats, Process, level
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class Heun(Diffusion):
    """Heun in sigma: Karras et al., 2022, arXiv:2206.00364, algorithm 1. The mean of the slopes at both ends; the last
    step, to the image, and one from no signal at all take Euler's.

    Example: ``--scheduler heun --steps 18``
    """

    flow_counterpart = "flow_heun"
    spacing: str = spacing_field("karras")

    def inner(self, process: Process, timesteps: Floats) -> tuple[tuple[Level, ...], ...]:
        ends: list[tuple[Level, ...]] = [(level(process, float(t), 1.0),) for t in timesteps[1:]]
        if ends and process.at(timesteps[0]) == 0:
            ends[0] = ()
        return (*ends, ())

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        x = straight(start, at.rates_next)
        if at.inner:
            inner = estimate(x, 0)
            x = x + at.rates_next[0] * (at.sigma_next - at.sigma) / 2.0 * (inner.epsilon - start.epsilon)
        return SchedulerResult(x, start.x0)
