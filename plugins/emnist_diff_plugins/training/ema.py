"""The exponential moving average of the weights, which is what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from torch import Tensor


def decay_at(step: int, decay: float) -> float:
    """min(decay, (1 + step) / (10 + step)): a short memory at first, so that the random start is soon forgotten."""
    return min(decay, (1.0 + step) / (10.0 + step))


@attrs.define(eq=False)
class Ema:
    """Averages of a network's parameters, in their order."""

    decay: float
    averages: list[Tensor]

    @classmethod
    def of(cls, parameters: Iterable[Tensor], decay: float) -> Ema:
        return cls(decay, [p.detach().clone() for p in parameters])

    @torch.no_grad()
    def update(self, parameters: Iterable[Tensor], step: int) -> None:
        """Take in the weights after `step` updates (1 after the first): one fused call, however many tensors."""
        torch._foreach_lerp_(self.averages, [p.detach() for p in parameters], 1.0 - decay_at(step, self.decay))

    @torch.no_grad()
    def distance(self, parameters: Iterable[Tensor]) -> float:
        """L2 distance between the averages and the weights."""
        differences = torch._foreach_sub(self.averages, [p.detach() for p in parameters])
        return float(torch.stack(torch._foreach_norm(differences)).norm())
