"""Denoising diffusion implicit models."""

from __future__ import annotations

import attrs
from attrs import validators as v
from torch import Tensor

from emnist_diff.protocols import Moved, NoiseSchedule, NoiseSource, PredictionType, StepInfo, Timeline
from emnist_diff_plugins.schedulers._diffusion import clip_field, spacing_field, timeline, x0_and_epsilon


def ddim_step(x0: Tensor, epsilon: Tensor, at: StepInfo, eta: float, noise: NoiseSource) -> Tensor:
    """x_{t-1} of DDIM: Song, Meng and Ermon, 2021, arXiv:2010.02502, equations 12 and 16. All (B, *shape)."""
    a, a_next = at.alpha_bar, at.alpha_bar_next
    variance = eta**2 * (1.0 - a_next) / (1.0 - a) * (1.0 - a / a_next)
    x = a_next**0.5 * x0 + max(1.0 - a_next - variance, 0.0) ** 0.5 * epsilon
    if variance > 0:
        x = x + variance**0.5 * noise()
    return x


@attrs.frozen
class Ddim:
    """DDIM. eta = 0 is deterministic, eta = 1 as noisy as DDPM.

    Example: ``--scheduler "ddim:eta=0.5"``
    """

    eta: float = attrs.field(
        default=0.0, validator=v.and_(v.ge(0), v.le(1)), metadata={"help": "share of DDPM's noise, 0 … 1"}
    )
    spacing: str = spacing_field()
    clip: bool = clip_field()

    def bind(self, schedule: NoiseSchedule, prediction: PredictionType) -> _BoundDdim:
        return _BoundDdim(self, schedule, prediction)


@attrs.frozen
class _BoundDdim:
    settings: Ddim
    schedule: NoiseSchedule
    prediction: PredictionType

    def plan(self, steps: int) -> Timeline:
        return timeline(self.schedule, steps, self.settings.spacing)

    def step(self, prediction: Tensor, x: Tensor, at: StepInfo, noise: NoiseSource) -> Moved:
        clip = self.schedule.clip_sample if self.settings.clip else None
        x0, epsilon = x0_and_epsilon(prediction, x, at, self.prediction, clip)
        return Moved(ddim_step(x0, epsilon, at, self.settings.eta, noise), x0)
