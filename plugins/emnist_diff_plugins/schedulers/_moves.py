"""Moves that several schedulers make. States are x = signal · x0 + noise · eps; sigma is noise / signal."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from emnist_diff.steps import SchedulerStep
from emnist_diff.timeline import StepInfo, rates
from emnist_diff_plugins.schedulers._estimates import Estimates


def straight(start: Estimates, rates: tuple[float, float]) -> Tensor:
    """The state at `rates` that has these estimates: Euler's step of the probability-flow ODE, whether in sigma
    (Karras et al., 2022, arXiv:2206.00364, algorithm 1), on a flow, or as DDIM with eta = 0."""
    signal, noise = rates
    return signal * start.x0 + noise * start.epsilon


def log_snr(sigma: float) -> float:
    """lambda = ln(signal / noise) = -ln sigma; infinite at the ends."""
    return -math.log(sigma) if sigma > 0 else math.inf


def sigma_before(step: SchedulerStep, back: int) -> float:
    """The noise-to-signal ratio of the step that was `back` steps before this one."""
    return step.timeline.at(step.at.index - back).sigma


def ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(down, up) with down² + up² = sigma_next²: go down without noise, come up with it. At eta = 1 as much noise as
    DDPM's (k-diffusion's ancestral step)."""
    rest = 1.0 if math.isinf(sigma) else 1.0 - (sigma_next / sigma) ** 2
    up = min(sigma_next, eta * sigma_next * rest**0.5)
    return (sigma_next**2 - up**2) ** 0.5, up


def ancestral_step(start: Estimates, step: SchedulerStep, eta: float, s_noise: float) -> Tensor:
    """Where Euler's step with fresh noise leads, (B, *shape): to below the next level, and up to it by noise."""
    down, up = ancestral(step.at.sigma, step.at.sigma_next, eta)
    signal = step.at.rates_next[0]
    x = signal * start.x0 + signal * down * start.epsilon
    if up > 0:
        x = x + signal * up * s_noise * step.noise()
    return x


def at_sigma(sigma: float, at: StepInfo) -> tuple[float, float]:
    """The rates of a state of noise-to-signal ratio `sigma` on the path of a step."""
    return rates(1.0 / (1.0 + sigma**2), at.process)


def adams_weights(sigmas: list[float], sigma_next: float) -> list[float]:
    """Weights of derivatives at `sigmas`, newest first, in the integral from the newest to `sigma_next` of the
    polynomial through them: Adams and Bashforth on an uneven grid."""
    span = sigma_next - sigmas[0]  # counted in spans from the newest: powers of sigma itself cancel to nothing
    nodes = [(sigma - sigmas[0]) / span for sigma in sigmas]
    weights = []
    for j, own in enumerate(nodes):
        polynomial = np.polynomial.Polynomial([1.0])
        for k, other in enumerate(nodes):
            if k != j:
                polynomial *= np.polynomial.Polynomial([-other, 1.0]) / (own - other)
        weights.append(span * float(polynomial.integ()(1.0)))
    return weights
