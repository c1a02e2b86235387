"""Guidance whose scale follows a curve over the run."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
from attrs import validators as v
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.curves import Cosine, Ramp, Table

from emnist_diff_forces_contrib._guidance import ScaledGuidance, scale_field

_CURVES: dict[str, Schedule] = {
    "linear": Ramp(0.0, 1.0),
    "inverse_linear": Ramp(1.0, 0.0),
    "cosine": Cosine(0.0, 1.0),
    "sine": Cosine(1.0, 0.0),
    "lambda": Table(((0.0, 0.0), (0.5, 1.0), (1.0, 0.0))),
    "v": Table(((0.0, 1.0), (0.5, 0.0), (1.0, 1.0))),
}
"""The heuristics of the paper, by their names there, which say how they look over training time."""


def power_cosine(u: float, power: float) -> float:
    """(1 − cos(π u^power)) / 2, 0 → 1 for u 0 → 1: the powered cosine of Wang et al., 2024, in u = 1 − t/T."""
    return 0.5 * (1.0 - math.cos(math.pi * u**power))


def beta(u: float, a: float, b: float) -> float:
    """The density of the beta distribution with a, b ≥ 1 at u, as a share of its largest value."""

    def logarithm(u: float) -> float:
        ends = ((a - 1.0, u), (b - 1.0, 1.0 - u))
        return sum(k * (math.log(x) if x > 0 else -math.inf) for k, x in ends if k > 0)

    mode = (a - 1.0) / (a + b - 2.0) if a + b > 2.0 else 0.5
    return math.exp(logarithm(u) - logarithm(mode))


@attrs.frozen
class DynamicCfg(ScaledGuidance):
    """e_null + s(t) (e_own − e_null) with s(t) = max(floor, 1 + (scale − 1) · f(frac)); in place of the base.

    f is 0 … 1. By frac, 0 for noise and 1 for the image: ``linear`` rises, ``inverse_linear`` falls, ``cosine`` rises
    and ``sine`` falls smoothly, ``lambda`` has its peak and ``v`` its foot in the middle, ``power_cosine`` is
    (1 − cos(π frac^power)) / 2, ``beta`` the density of the beta distribution with `a` and `b`, as a share of its peak.
    All but the last: Wang, Dufour, Andreou, Cani, Fernández Abrevaya, Picard and Kalogeiton, 2024, "Analysis of
    classifier-free guidance weight schedulers", arXiv:2404.13040, whose weight is w = s − 1 and who double the first
    six so that their mean is that of the constant; `floor` is their clamping. The last: Malarz, Kasymov, Zięba, Tabor
    and Spurek, 2025, "Classifier-free guidance with adaptive scaling", arXiv:2502.10574, without its normalisation.

    Any other course is a schedule: ``scale`` takes one, which the curve ``constant`` leaves as it is.

    Example: ``--base cond --force "dynamic_cfg:curve=power_cosine,power=2,scale=6"``
    """

    scale: Schedule = scale_field(5.0, "guidance scale at the peak of the curve")
    curve: str = attrs.field(
        default="linear",
        validator=v.in_(("constant", *_CURVES, "power_cosine", "beta")),
        metadata={"help": f"constant, {', '.join(_CURVES)}, power_cosine or beta"},
    )
    floor: float | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(float),
        metadata={"help": "guidance scale below which it never falls"},
    )
    power: float = attrs.field(
        default=2.0, converter=float, validator=v.gt(0), metadata={"help": "power_cosine: exponent; late above 1"}
    )
    a: float = attrs.field(default=2.0, converter=float, metadata={"help": "beta: first parameter, at least 1"})
    b: float = attrs.field(default=2.0, converter=float, metadata={"help": "beta: second parameter, at least 1"})

    def __attrs_post_init__(self) -> None:
        for name, value in (("a", self.a), ("b", self.b)):
            if value < 1:
                raise ConfigError(f"dynamic_cfg: {name} = {value:g} must be at least 1, or the curve has no peak")

    def scale_at(self, at: StepInfo) -> float:
        shapes: dict[str, Callable[[], float]] = {
            "constant": lambda: 1.0,
            "power_cosine": lambda: power_cosine(at.frac, self.power),
            "beta": lambda: beta(at.frac, self.a, self.b),
        }
        share = shapes[self.curve]() if self.curve in shapes else _CURVES[self.curve](at)
        scale = 1.0 + (self.scale(at) - 1.0) * share
        return scale if self.floor is None else max(self.floor, scale)
