"""Rectified flow: the straight path from image to noise, and its velocity to predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from emnist_diff.timeline import FlowSchedule, PredictionType
from emnist_diff_plugins.fields import setting

_FIRST = 1e-5
"""The smallest s that is drawn: an image without noise has nothing to say of it."""


@attrs.frozen
class FlowObjective:
    """The velocity eps - x_0 of x_s = (1 - s) x_0 + s eps (Liu, Gong and Liu, 2023, arXiv:2209.03003), by mean squared
    error.

    Example: ``emnist-diff train unet2d --objective "flow:time_sampling=logit_normal"``
    """

    time_sampling: Literal["uniform", "logit_normal"] = setting(
        "logit_normal", "how s is drawn: uniform, or logit_normal, which is sigmoid(mean + std · normal)"
    )
    mean: float = setting(0.0, "of logit_normal", v.and_(v.ge(-20), v.le(20)))
    std: float = setting(1.0, "of logit_normal", v.and_(v.gt(0), v.le(20)))
    shift: float = setting(
        1.0, "moves s toward the noise: s' = shift · s / (1 + (shift - 1) s)", v.and_(v.gt(0), v.le(1e3))
    )
    time_scale: float = setting(1000.0, "the network is shown time_scale · s", v.and_(v.gt(0), v.le(1e6)))

    def process(self, clip: float | None) -> FlowSchedule:
        """`Objective.process`; never clipped: a state between image and noise has no range."""
        return FlowSchedule(self.time_scale)

    @property
    def prediction_type(self) -> PredictionType:
        """`Objective.prediction_type`."""
        return "flow"

    @property
    def recommended(self) -> Mapping[str, Any]:
        """`Objective.recommended`."""
        return {"scheduler": {"name": "flow_heun"}, "steps": 20, "guidance_scale": 2.5}

    def timesteps(self, generator: torch.Generator, count: int) -> Tensor:
        """`Objective.timesteps`: time_scale · s, float32; Esser et al., 2024, arXiv:2403.03206, equations 19 and 23."""
        if self.time_sampling == "uniform":
            s = torch.rand(count, generator=generator)
        else:
            s = torch.sigmoid(self.mean + self.std * torch.randn(count, generator=generator))
        s = self.shift * s / (1.0 + (self.shift - 1.0) * s)
        return self.time_scale * s.clamp(_FIRST, 1.0)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`Objective.rates`: 1 - s and s."""
        s = t.float() / self.time_scale
        return 1.0 - s, s

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`Objective.target`: the velocity eps - x_0, the same at all times."""
        return noise - x0

    def weight(self, t: Tensor) -> Tensor | None:
        """`Objective.weight`: all weigh 1; what is drawn more often weighs more."""
        return None
