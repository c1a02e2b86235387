"""DPM-Solver++(2M): second order from one evaluation a step."""

from __future__ import annotations

import math

import attrs
from torch import Tensor

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import log_snr, sigma_before
from emnist_diff_plugins.schedulers._scheduler import Estimator


def extrapolated(x0: Tensor, step: SchedulerStep) -> Tensor:
    """The image estimate in the middle of a step, in ln sigma, from this one and that of the step before; the present
    one at the first step and at the last, which has no middle."""
    at, before = step.at, step.memory.get("x0")
    if before is None or at.sigma_next == 0:
        return x0
    lambda_start = log_snr(at.sigma)
    h = log_snr(at.sigma_next) - lambda_start
    h_before = lambda_start - log_snr(sigma_before(step, 1))
    return x0 + h / (2.0 * h_before) * (x0 - before)


def dpmpp_2m_step(x0: Tensor, step: SchedulerStep) -> SchedulerResult:
    """The step of Lu et al., 2022, arXiv:2211.01095, algorithm 2, on either path: the exact solution for an image
    estimate that does not change within the step."""
    at = step.at
    decay = math.expm1(log_snr(at.sigma) - log_snr(at.sigma_next))  # e^-h - 1; -1 where h is infinite
    signal, noise = at.rates_next
    x = noise / at.rates[1] * step.x - signal * decay * extrapolated(x0, step)
    return SchedulerResult(x, x0, {"x0": x0})


@attrs.frozen(kw_only=True)
class DpmPp2M(Diffusion):
    """DPM-Solver++(2M): Lu et al., 2022, arXiv:2211.01095, algorithm 2, with a first-order last step.

    Example: ``--scheduler dpmpp_2m --steps 20``
    """

    flow_counterpart = "flow_dpmpp_2m"
    spacing: str = spacing_field("karras")

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return dpmpp_2m_step(start.x0, step)
