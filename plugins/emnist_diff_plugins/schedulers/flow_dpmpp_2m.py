"""DPM-Solver++(2M) for flows: second order from one evaluation a step."""

from __future__ import annotations

import attrs

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._flow import Flow
from emnist_diff_plugins.schedulers._scheduler import Estimator
from emnist_diff_plugins.schedulers.dpmpp_2m import dpmpp_2m_step


@attrs.frozen(kw_only=True)
class FlowDpmPp2M(Flow):
    """DPM-Solver++(2M) in lambda = ln((1 - s) / s): Lu et al., 2022, arXiv:2211.01095, algorithm 2. First order at
    the first step, from no signal at all, at the second, and at the last.

    Example: ``--scheduler "flow_dpmpp_2m:shift=3" --steps 20``
    """

    diffusion_counterpart = "dpmpp_2m"

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return dpmpp_2m_step(start.x0, step)
