"""Guidance away from a network that cannot attend."""

from __future__ import annotations

from typing import ClassVar

import attrs
from attrs import validators as v
from emnist_diff.conditions import Cond
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from emnist_diff_plugins.variants import EVERYWHERE

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._worse import AWAY, WorseNetwork, target_field


@attrs.frozen
class PerturbedAttention(WorseNetwork):
    """strength · (e_c − ê_c), where ê is the network with its self-attention maps replaced by the identity.

    Perturbed-attention guidance (Ahn et al., 2024, arXiv:2403.17377). The structure that attention makes is
    strengthened, with no class needed. On base ``cond`` the prediction is the paper's, e_c + s (e_c − ê_c); on base
    ``cfg`` it is that of its joint use with classifier-free guidance. The paper uses s = 3. It needs a network that
    declares the variant ``attention_identity``, as ``unet2d`` does, and costs one more row a sample.

    Example: ``--force "perturbed_attention:strength=3"``
    """

    strength: Schedule = scalar_field(3.0, "s, ≥ 0; 0 leaves a step alone", ("scale",))
    target: str | None = target_field()
    where: str = attrs.field(
        default="middle",
        validator=v.in_(("middle", "all")),
        metadata={"help": "the attention that is perturbed: in the middle of the network, or all"},
    )

    directions: ClassVar[Directions] = {"weight": AWAY, "strength": AWAY}

    def worse(self, cond: Cond) -> Cond:
        return attrs.evolve(cond, variant="attention_identity" + (EVERYWHERE if self.where == "all" else ""))

    def strength_at(self, at: StepInfo) -> float:
        return self.strength(at)
