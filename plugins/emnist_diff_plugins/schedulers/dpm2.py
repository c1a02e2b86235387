"""DPM-Solver-2: the midpoint method in ln sigma, two evaluations a step."""

from __future__ import annotations

import math

import attrs

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import Level
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import at_sigma, straight
from emnist_diff_plugins.schedulers._process import Floats, Process, level
from emnist_diff_plugins.schedulers._scheduler import Estimator


def midpoints(process: Process, timesteps: Floats, share: float = 0.5) -> tuple[tuple[Level, ...], ...]:
    """For each step the level at `share` of its way in ln sigma; none for the last step, to the image, and for one
    from no signal at all."""
    levels: list[tuple[Level, ...]] = []
    sigma = [math.inf if a == 0 else ((1 - a) / a) ** 0.5 for a in process.at(timesteps).tolist()]
    for i in range(len(timesteps) - 1):
        if math.isinf(sigma[i]):
            levels.append(())
            continue
        t = float(process.timestep(sigma[i] ** (1 - share) * sigma[i + 1] ** share))
        levels.append((level(process, t, float((timesteps[i] - t) / (timesteps[i] - timesteps[i + 1]))),))
    return (*levels, ())


@attrs.frozen(kw_only=True)
class Dpm2(Diffusion):
    """DPM-Solver-2: Lu et al., 2022, arXiv:2206.00927, algorithm 1 with r = 1/2, in the form of k-diffusion: the slope
    at the geometric middle of the two noise levels serves for the whole step. The last step is Euler's.

    Example: ``--scheduler dpm2 --steps 20``
    """

    flow_counterpart = "flow_midpoint"
    spacing: str = spacing_field("karras")

    def inner(self, process: Process, timesteps: Floats) -> tuple[tuple[Level, ...], ...]:
        return midpoints(process, timesteps)

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        x = straight(start, at.rates_next)
        if at.inner:
            middle = at.inside(0)
            inner = estimate(straight(start, at_sigma(middle.sigma, at)), 0)
            x = x + at.rates_next[0] * (at.sigma_next - at.sigma) * (inner.epsilon - start.epsilon)
        return SchedulerResult(x, start.x0)
