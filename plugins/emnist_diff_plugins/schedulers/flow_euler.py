"""Euler's method for flows."""

from __future__ import annotations

import attrs

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._flow import Flow
from emnist_diff_plugins.schedulers._moves import straight
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class FlowEuler(Flow):
    """x += (s_next - s) v. Liu, Gong and Liu, 2023, arXiv:2209.03003, section 2.

    Example: ``--scheduler "flow_euler:shift=3"``
    """

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return SchedulerResult(straight(start, step.at.rates_next), start.x0)
