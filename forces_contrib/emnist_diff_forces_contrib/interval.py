"""Guidance within a range of noise levels."""

from __future__ import annotations

import attrs
from attrs import validators as v
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo

from emnist_diff_forces_contrib._guidance import ScaledGuidance, scale_field


@attrs.frozen
class Interval(ScaledGuidance):
    """e_null + s (e_own − e_null) where low < sigma ≤ high, the plain e_own elsewhere; in place of the base.

    Kynkäänniemi, Aittala, Karras, Laine, Aila and Lehtinen, 2024, "Applying guidance in a limited interval improves
    sample and distribution quality in diffusion models", arXiv:2404.07724. sigma is the noise-to-signal ratio of the
    level, on flows too; the default range is the authors' for Stable Diffusion XL. Where the scale is 1, "no class"
    costs no network rows on base ``cond``.

    Example: ``--base cond --force "interval:scale=4,low=0.2,high=4"``
    """

    scale: Schedule = scale_field()
    low: float = attrs.field(
        default=0.28, converter=float, validator=v.ge(0), metadata={"help": "noise level, sigma ≥ 0, at which it ends"}
    )
    high: float = attrs.field(
        default=5.42, converter=float, validator=v.gt(0), metadata={"help": "noise level, sigma, at which it begins"}
    )

    def __attrs_post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"interval: low = {self.low:g} must be below high = {self.high:g}")

    def scale_at(self, at: StepInfo) -> float:
        return self.scale(at) if self.low < at.sigma <= self.high else 1.0
