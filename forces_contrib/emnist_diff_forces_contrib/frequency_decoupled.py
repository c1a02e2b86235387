"""Frequency-decoupled guidance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from emnist_diff.conditions import NULL, Cond, Predictions
from emnist_diff.errors import ConfigError
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._guidance import Guidance
from emnist_diff_forces_contrib._pyramid import fits, image, pyramid


def _scales(instance: Any, attribute: Any, value: tuple[float, ...]) -> None:
    if not value:
        raise ConfigError("frequency_decoupled: scales needs one number a level at least, e.g. [4, 2]")


@attrs.frozen
class FrequencyDecoupled(Guidance):
    """e_null + Σ_l s_l · L_l(e_own − e_null), with L_l the l-th level of a Laplacian pyramid, finest first; in place of
    the base.

    Sadat, Vontobel, Salehi and Weber, 2025, "Guidance in the frequency domain enables high-fidelity sampling at low CFG
    scales", arXiv:2506.19713, without its projections. Each level is guided with its own scale, fine
    detail first; the paper takes more for it than for the coarse. Predictions of noise, v, velocity and image differ by
    one factor at a level, so that the split is the same in all of them. Equal scales are plain guidance.

    States must be images, (C, H, W) or (H, W), with sides of at least 3 · 2^(levels − 2).

    Example: ``--base cond --force "frequency_decoupled:scales=[5,2]"``
    """

    scales: tuple[float, ...] = attrs.field(
        default=(4.0, 2.0),
        converter=tuple,
        validator=_scales,
        metadata={"help": "guidance scale of each level, finest first", "aliases": ("guidance_scales",)},
    )

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        return (self.own,) if set(self.scales) == {1.0} else (NULL, self.own)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        own, shape = predictions[self.own], tuple(step.x.shape[1:])
        if set(self.scales) == {1.0}:
            return own
        if len(shape) not in (2, 3) or not fits(shape[-2], shape[-1], len(self.scales)):
            raise ConfigError(
                f"frequency_decoupled: states of shape {shape} do not split into {len(self.scales)} levels — it takes "
                "images (C, H, W) whose smaller side is at least 3 · 2^(levels − 2)"
            )
        delta = (own - predictions[NULL]).reshape(len(own), -1, *shape[-2:])
        levels = pyramid(delta, len(self.scales))
        guided = image([scale * level for scale, level in zip(self.scales, levels, strict=True)])
        return predictions[NULL] + guided.reshape(own.shape)
