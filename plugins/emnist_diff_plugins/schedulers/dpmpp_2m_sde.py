"""DPM-Solver++(2M) for the reverse SDE."""

from __future__ import annotations

import math

import attrs
from attrs import validators as v

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff_plugins.schedulers._diffusion import Diffusion, spacing_field
from emnist_diff_plugins.schedulers._estimates import Estimates
from emnist_diff_plugins.schedulers._moves import log_snr
from emnist_diff_plugins.schedulers._scheduler import Estimator
from emnist_diff_plugins.schedulers.dpmpp_2m import extrapolated


@attrs.frozen(kw_only=True)
class DpmPp2MSde(Diffusion):
    """SDE-DPM-Solver++(2M): Lu et al., 2022, arXiv:2211.01095, section 5.2, with the midpoint form and `eta` of
    k-diffusion. eta = 0 is `dpmpp_2m`.

    Example: ``--scheduler "dpmpp_2m_sde:eta=1" --steps 30``
    """

    spacing: str = spacing_field("karras")
    eta: float = attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "noise; 1 is that of the reverse SDE"})
    s_noise: float = attrs.field(default=1.0, validator=v.ge(0), metadata={"help": "factor on the noise"})

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        at = step.at
        signal, noise = at.rates_next
        if at.sigma_next == 0:
            return SchedulerResult(signal * start.x0, start.x0)
        h = log_snr(at.sigma_next) - log_snr(at.sigma)
        damping = math.exp(-self.eta * h) if self.eta else 1.0
        pull = -math.expm1(-(1.0 + self.eta) * h)
        x = noise / at.rates[1] * damping * step.x + signal * pull * extrapolated(start.x0, step)
        if self.eta > 0:
            x = x + noise * (-math.expm1(-2.0 * self.eta * h)) ** 0.5 * self.s_noise * step.noise()
        return SchedulerResult(x, start.x0, {"x0": start.x0})
