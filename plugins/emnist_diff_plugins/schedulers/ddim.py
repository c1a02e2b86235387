"""Denoising diffusion implicit models."""

from __future__ import annotations

import attrs
from attrs import validators as v
from torch import Tensor

from emnist_diff.steps import NoiseSource, SchedulerResult, SchedulerStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.schedulers._diffusion import Diffusion
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._scheduler import Estimator


def ddim_step(start: Estimates, at: StepInfo, eta: float, noise: NoiseSource) -> Tensor:
    """x_{t-1} of DDIM: Song, Meng and Ermon, 2021, arXiv:2010.02502, equations 12 and 16; (B, *shape)."""
    a, a_next = at.alpha_bar, at.alpha_bar_next
    variance = eta**2 * (1.0 - a_next) / (1.0 - a) * (1.0 - a / a_next)
    x: Tensor = a_next**0.5 * start.x0 + max(1.0 - a_next - variance, 0.0) ** 0.5 * start.epsilon
    if variance > 0:
        x = x + variance**0.5 * noise()
    return x


@attrs.frozen(kw_only=True)
class Ddim(Diffusion):
    """DDIM. eta = 0 is deterministic, eta = 1 as noisy as DDPM.

    Example: ``--scheduler "ddim:eta=0.5"``
    """

    eta: float = attrs.field(
        default=0.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "share of DDPM's noise, 0 … 1"}
    )

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return SchedulerResult(ddim_step(start, step.at, self.eta, step.noise), start.x0)
