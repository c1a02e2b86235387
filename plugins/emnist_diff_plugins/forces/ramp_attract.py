"""Attraction that grows."""

from __future__ import annotations

from typing import ClassVar

import attrs
from attrs import validators as v

from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from emnist_diff_plugins.forces._class_force import TOWARD, ClassForce, Target, target_field


@attrs.frozen
class RampAttract(ClassForce):
    """(start + (strength − start) · frac^power) · F(target), with frac the fraction of the run, 0 at noise.
    Both ends and the weight are at least 0.

    Example: ``--force "ramp_attract:target=R,strength=4,power=2"``
    """

    target: Target = target_field(aliases=("target_class",))
    strength: float = attrs.field(
        default=1.0,
        converter=float,
        metadata={"help": "weight at the image", "aliases": ("end_w", "end_weight")},
    )
    power: float = attrs.field(
        default=1.0, converter=float, validator=v.gt(0), metadata={"help": "1 is a straight line, more is later"}
    )
    start: float = attrs.field(
        default=0.0,
        converter=float,
        metadata={"help": "weight at the noise", "aliases": ("start_w", "start_weight")},
    )

    directions: ClassVar[Directions] = {"weight": TOWARD, "start": TOWARD, "strength": TOWARD}

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        return [(self.target, self.start + (self.strength - self.start) * at.frac**self.power)]
