"""Euler's method for the probability-flow ODE."""

from __future__ import annotations

import attrs

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import straight
from emnist_diff_plugins.schedulers._scheduler import Estimator


@attrs.frozen(kw_only=True)
class Euler(Diffusion):
    """Euler in sigma: Karras et al., 2022, arXiv:2206.00364, algorithm 1 without its correction. On equal noise levels
    it goes where DDIM with eta = 0 goes.

    Example: ``--scheduler "euler:spacing=karras"``
    """

    spacing: str = spacing_field("karras")

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return SchedulerResult(straight(start, step.at.rates_next), start.x0)
