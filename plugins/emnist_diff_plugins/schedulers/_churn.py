"""Churn: noise added before a step, and taken away with the rest. Karras et al., 2022, arXiv:2206.00364, algorithm 2.

States are x = signal · x0 + noise · eps and sigma is noise / signal, on diffusions and on flows: x / signal is the
paper's state on either.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import ConfigError
from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import at_sigma, straight
from emnist_diff_plugins.schedulers._process import Floats
from emnist_diff_plugins.schedulers._scheduler import Estimator


class Churned(Protocol):
    """The settings of a churn."""

    @property
    def s_churn(self) -> float:
        """Noise added, over all steps."""

    @property
    def s_tmin(self) -> float:
        """The smallest sigma that is churned."""

    @property
    def s_tmax(self) -> float | None:
        """The largest; None for all above."""

    @property
    def s_noise(self) -> float:
        """Factor on the noise."""


def churn_field() -> Any:
    """`Churned.s_churn`."""
    return attrs.field(default=0.0, validator=v.ge(0), metadata={"help": "noise added, over all steps"})


def smallest_field() -> Any:
    """`Churned.s_tmin`."""
    return attrs.field(default=0.0, validator=v.ge(0), metadata={"help": "smallest sigma that is churned"})


def largest_field() -> Any:
    """`Churned.s_tmax`."""
    return attrs.field(
        default=None,
        validator=v.optional(v.gt(0)),
        metadata={"help": "largest sigma that is churned; none when left out"},
    )


def noise_field() -> Any:
    """`Churned.s_noise`."""
    return attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "factor on the noise"})


def require_churn(settings: Churned) -> None:
    """Raise `ConfigError` for settings that shape a churn where there is none."""
    if not settings.s_churn and (settings.s_tmin or settings.s_tmax is not None or settings.s_noise != 1):
        raise ConfigError("s_tmin, s_tmax and s_noise shape the churn, and there is none — use s_churn")


def gammas(settings: Churned, sigma: Floats) -> Floats:
    """By how much each step raises its noise level, as a share of it; sigma: where the steps start, (steps,)."""
    top = math.inf if settings.s_tmax is None else settings.s_tmax
    inside = (sigma >= settings.s_tmin) & (sigma <= top) & np.isfinite(sigma)  # pure noise cannot be made noisier
    return np.where(inside, min(settings.s_churn / len(sigma), 2**0.5 - 1), 0.0)


def churned_heun(start: Estimates, step: SchedulerStep, estimate: Estimator, s_noise: float) -> SchedulerResult:
    """Heun's step in sigma to the level that is the step's inner one, and the noise of the next step's churn."""
    at = step.at
    if not at.inner:
        return SchedulerResult(straight(start, at.rates_next), start.x0)
    target = at.inside(0).sigma  # below at.sigma_next by the churn of the step to come
    signal, noise = at_sigma(target, at)
    x = straight(start, (signal, noise))
    inner = estimate(x, 0)
    x = x + signal * (target - at.sigma) / 2.0 * (inner.epsilon - start.epsilon)
    if at.sigma_next > target:
        raised = at.rates_next[0]
        x = raised / signal * x + raised * (at.sigma_next**2 - target**2) ** 0.5 * s_noise * step.noise()
    return SchedulerResult(x, start.x0)
