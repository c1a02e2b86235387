"""The base of the prediction: what the forces are added to."""

from __future__ import annotations

from typing import Literal

import attrs
from torch import Tensor

from emnist_diff.conditions import NULL, OWN, Cond, Predictions

BaseKind = Literal["cfg", "cond", "uncond"]


@attrs.frozen
class Base:
    """``cfg``: e_null + s (e_own - e_null), classifier-free guidance (Ho and Salimans, 2022, arXiv:2207.12598,
    with s = 1 + w of its equation 6); ``cond``: e_own; ``uncond``: e_null.

    guidance_scale: s, used by ``cfg`` alone. s = 0 evaluates only null, s = 1 only own.
    """

    kind: BaseKind = "cfg"
    guidance_scale: float = 3.0

    def conditions(self) -> tuple[Cond, ...]:
        """The conditions that the base reads."""
        if self.kind == "uncond" or (self.kind == "cfg" and self.guidance_scale == 0):
            return (NULL,)
        if self.kind == "cond" or self.guidance_scale == 1:
            return (OWN,)
        return (NULL, OWN)

    def __call__(self, predictions: Predictions) -> Tensor:
        """The base prediction, (B, *shape)."""
        wanted = self.conditions()
        if len(wanted) == 1:
            return predictions[wanted[0]]
        null = predictions[NULL]
        return null + self.guidance_scale * (predictions[OWN] - null)
