"""Denoising diffusion probabilistic models: ancestral sampling."""

from __future__ import annotations

import attrs
from attrs import validators as v
from torch import Tensor

from emnist_diff.steps import NoiseSource, SchedulerResult, SchedulerStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.schedulers._diffusion import Diffusion
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._scheduler import Estimator


def ddpm_step(x0: Tensor, x: Tensor, at: StepInfo, variance_type: str, noise: NoiseSource) -> Tensor:
    """x_{t-1} of DDPM: Ho, Jain and Abbeel, 2020, arXiv:2006.11239, equations 6 and 7, with the beta of the step
    that is really taken, 1 - a_t / a_{t-1}, when timesteps are skipped. All (B, *shape)."""
    a, a_next = at.alpha_bar, at.alpha_bar_next
    alpha = a / a_next
    beta = 1.0 - alpha
    mean: Tensor = (a_next**0.5 * beta / (1.0 - a)) * x0 + (alpha**0.5 * (1.0 - a_next) / (1.0 - a)) * x
    if a_next >= 1.0:  # the image: equation 7's variance is zero, and no noise is left to add
        return mean
    variance = beta if variance_type == "fixed_large" else beta * (1.0 - a_next) / (1.0 - a)
    deviation: float = variance**0.5
    return mean + deviation * noise()


@attrs.frozen(kw_only=True)
class Ddpm(Diffusion):
    """DDPM, at any number of steps.

    Example: ``--scheduler ddpm --steps 100``
    """

    variance: str = attrs.field(
        default="fixed_small",
        validator=v.in_(("fixed_small", "fixed_large")),
        metadata={"help": "fixed_small: the posterior's variance; fixed_large: beta", "aliases": ("variance_type",)},
    )

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        return SchedulerResult(ddpm_step(start.x0, step.x, step.at, self.variance, step.noise), start.x0)
