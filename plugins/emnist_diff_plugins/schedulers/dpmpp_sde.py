"""DPM-Solver++ for the reverse SDE, single step: two evaluations."""

from __future__ import annotations

import attrs
from attrs import validators as v
from torch import Tensor

from emnist_diff.steps import NoiseSource, SchedulerResult, SchedulerStep
from emnist_diff.timeline import Level, StepInfo
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import ancestral, at_sigma
from emnist_diff_plugins.schedulers._process import Floats, Process
from emnist_diff_plugins.schedulers._scheduler import Estimator
from emnist_diff_plugins.schedulers.dpm2 import midpoints


@attrs.frozen(kw_only=True)
class DpmPpSde(Diffusion):
    """SDE-DPM-Solver++(2S), as k-diffusion has it, after Lu et al., 2022, arXiv:2211.01095. The noise of a step and
    that of its first part are one Brownian path. The last step, to the image, takes the image estimate.

    Example: ``--scheduler dpmpp_sde --steps 20``
    """

    spacing: str = spacing_field("karras")
    eta: float = attrs.field(
        default=1.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "share of the noise, 0 … 1"}
    )
    s_noise: float = attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "factor on the noise"})
    r: float = attrs.field(
        default=0.5,
        validator=v.and_(v.gt(0), v.lt(1)),
        metadata={"help": "where in the step the second evaluation is, in ln sigma"},
    )

    def inner(self, process: Process, timesteps: Floats) -> tuple[tuple[Level, ...], ...]:
        return midpoints(process, timesteps, self.r)

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        if not at.inner:
            return SchedulerResult(self._piece(step.x, start.x0, at, at.sigma_next, step.noise), start.x0)
        sigma, middle = at.sigma, at.inside(0).sigma
        first = self._piece(step.x, start.x0, at, middle, step.noise)
        inner = estimate(first, 0)
        share = 1.0 / (2.0 * self.r)
        x0 = (1.0 - share) * start.x0 + share * inner.x0
        part: float = ((sigma - middle) / (sigma - at.sigma_next)) ** 0.5

        def whole(stream: str = "") -> Tensor:
            rest: float = (1.0 - part**2) ** 0.5
            return part * step.noise() + rest * step.noise("rest")

        return SchedulerResult(self._piece(step.x, x0, at, at.sigma_next, whole), start.x0)

    def _piece(self, x: Tensor, x0: Tensor, at: StepInfo, sigma_next: float, noise: NoiseSource) -> Tensor:
        """From the step's state to the level `sigma_next`: exactly for the image estimate `x0`, down and up again."""
        down, up = ancestral(at.sigma, sigma_next, self.eta)
        signal = at_sigma(sigma_next, at)[0]
        ratio = down / at.sigma
        out = signal * down / at.rates[1] * x + signal * (1.0 - ratio) * x0
        if up > 0:
            out = out + signal * up * self.s_noise * noise()
        return out
