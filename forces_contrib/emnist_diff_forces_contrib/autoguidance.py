"""Guidance away from a weaker version of the same network."""

from __future__ import annotations

from typing import ClassVar

import attrs
from attrs import validators as v
from emnist_diff.conditions import Cond
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._worse import AWAY, WorseNetwork, target_field


@attrs.frozen
class Autoguidance(WorseNetwork):
    """(scale − 1) · (e_c − e'_c), where e' is what a guide says: a second, weaker checkpoint of the run.

    Autoguidance (Karras et al., 2024, arXiv:2406.02507, equation 3 with w for scale): on base ``cond`` the prediction
    is the paper's, e'_c + w (e_c − e'_c). The guide should have the same faults as the main network, only more of them:
    an earlier epoch, or a smaller network, trained on the same data. The paper finds the best w at about 2. It costs
    one row a sample of the guide.

    Example: ``--base cond --guide weak=weak.safetensors --force "autoguidance:scale=2"``
    """

    scale: Schedule = scalar_field(2.0, "w; 1 leaves a step alone, less moves toward the guide", ("guidance_scale",))
    guide: str = attrs.field(
        default="weak", validator=v.min_len(1), metadata={"help": "name of the guide, as in --guide NAME=FILE"}
    )
    target: str | None = target_field()

    directions: ClassVar[Directions] = {"weight": AWAY}

    def worse(self, cond: Cond) -> Cond:
        return attrs.evolve(cond, denoiser=self.guide)

    def strength_at(self, at: StepInfo) -> float:
        return self.scale(at) - 1.0
