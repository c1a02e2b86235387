"""Heun's method for flows: second order, two evaluations a step."""

from __future__ import annotations

import attrs

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import FlowSchedule, Level
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._flow import Flow, alpha_bar, velocity
from emnist_diff_plugins.schedulers._moves import straight
from emnist_diff_plugins.schedulers._process import Floats
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class FlowHeun(Flow):
    """The mean of the velocities at both ends of a step; the last step, to the image, is Euler's, as in diffusers.

    Example: ``--scheduler "flow_heun:mu=1.15" --steps 20``
    """

    diffusion_counterpart = "heun"

    def inner(self, process: FlowSchedule, s: Floats) -> tuple[tuple[Level, ...], ...]:
        ends = s[1:]
        levels = zip((process.time_scale * ends).tolist(), alpha_bar(ends).tolist(), strict=True)
        return (*((Level(timestep, power, 1.0),) for timestep, power in levels), ())

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        x = straight(start, at.rates_next)
        if at.inner:
            span = at.rates_next[1] - at.rates[1]
            x = x + span / 2.0 * (velocity(estimate(x, 0)) - velocity(start))
        return SchedulerResult(x, start.x0)
