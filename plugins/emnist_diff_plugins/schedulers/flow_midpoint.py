"""The midpoint method for flows: second order, two evaluations a step."""

from __future__ import annotations

import attrs
import numpy as np

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import FlowSchedule, Level
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._flow import Flow, alpha_bar, velocity
from emnist_diff_plugins.schedulers._moves import straight
from emnist_diff_plugins.schedulers._process import Floats
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class FlowMidpoint(Flow):
    """The velocity in the middle of a step, in s, serves for the whole of it, the last one included.

    Example: ``--scheduler flow_midpoint --steps 20``
    """

    diffusion_counterpart = "dpm2"

    def inner(self, process: FlowSchedule, s: Floats) -> tuple[tuple[Level, ...], ...]:
        middle = (s + np.append(s[1:], 0.0)) / 2.0
        levels = zip((process.time_scale * middle).tolist(), alpha_bar(middle).tolist(), strict=True)
        return tuple((Level(timestep, power, 0.5),) for timestep, power in levels)

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        inner = estimate(straight(start, at.inside(0).rates), 0)
        x = straight(start, at.rates_next)
        return SchedulerResult(x + (at.rates_next[1] - at.rates[1]) * (velocity(inner) - velocity(start)), start.x0)
