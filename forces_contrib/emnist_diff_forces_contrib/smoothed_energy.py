"""Guidance away from a network that attends without focus."""

from __future__ import annotations

from typing import ClassVar

import attrs
from attrs import validators as v
from emnist_diff.conditions import Cond
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from emnist_diff_plugins.variants import Variant

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._worse import AWAY, WorseNetwork, target_field


@attrs.frozen
class SmoothedEnergy(WorseNetwork):
    """strength · (e_c − ê_c), where ê is the network with the queries of its self-attention blurred over the image.

    Smoothed energy guidance (Hong, 2024, arXiv:2408.00760): a Gaussian of standard deviation sigma, in tokens, flattens
    the energy that attention descends; an infinite one makes all queries their mean. On base ``uncond`` with target
    null the prediction is the paper's, e + s (e − ê), which it uses with s = 3 and an infinite sigma. It needs a
    network that declares the variant ``attention_blur``, as ``unet2d`` does, and costs one more row a sample.

    Example: ``--force "smoothed_energy:strength=3,sigma=2"``
    """

    strength: Schedule = scalar_field(3.0, "s, ≥ 0; 0 leaves a step alone", ("scale",))
    sigma: float | None = attrs.field(
        default=None,
        validator=v.optional(v.gt(0)),
        metadata={"help": "standard deviation of the blur in tokens, > 0; infinite when left out"},
    )
    target: str | None = target_field()
    where: str = attrs.field(
        default="middle",
        validator=v.in_(("middle", "all")),
        metadata={"help": "the attention that is blurred: in the middle of the network, or all"},
    )

    directions: ClassVar[Directions] = {"weight": AWAY, "strength": AWAY}

    def worse(self, cond: Cond) -> Cond:
        return attrs.evolve(cond, variant=str(Variant("attention_blur", self.sigma, self.where == "all")))

    def strength_at(self, at: StepInfo) -> float:
        return self.strength(at)
