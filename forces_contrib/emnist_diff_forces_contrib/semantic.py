"""Semantic guidance: a few concepts, each in the few places where it matters most."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
import torch
from attrs import validators as v
from emnist_diff.conditions import NULL, Cond, Predictions, named
from emnist_diff.schedules import Schedule
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction, Directions
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._logic import Composition, targets_field, weights_field

_TOWARD = Direction("moves toward its classes", "a negative one of weights for each class to move away from")


def _share(default: float, help: str, *, whole: bool) -> Any:
    """A number from 0 to 1.  whole: whether it may be 1."""
    return attrs.field(
        default=default,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1) if whole else v.lt(1)),
        metadata={"help": help},
    )


def largest(delta: Tensor, threshold: float) -> Tensor:
    """delta (B, *shape), where its magnitude is at least its quantile `threshold`, and 0 elsewhere.

    The quantile, linear between neighbours in order, is that of each sample, and of states (C, H, W) of each channel.
    """
    sizes = delta.abs().flatten(2 if delta.dim() == 4 else 1)
    order = sizes.sort(-1).values  # torch.quantile refuses more than 16 million elements
    below = math.floor(place := threshold * (order.shape[-1] - 1))
    above = min(below + 1, order.shape[-1] - 1)
    bound = torch.lerp(order[..., below], order[..., above], place - below)[..., None]
    return torch.where(sizes >= bound, 1.0, 0.0).view(delta.shape) * delta


@attrs.frozen
class Semantic(Composition):
    """strength · γ with γ = Σ_i w_i μ(ψ_i) ψ_i + s_m ν, ψ_i = e_i − e_null; nothing while a run warms up.

    Semantic guidance, SEGA (Brack, Friedrich, Hintersdorf, Struppek, Schramowski and Kersting, 2023, arXiv:2301.12247,
    section 3). μ(ψ) is 1 where |ψ| is at least its quantile `threshold` and 0 elsewhere: a concept is edited
    only where the model says that it differs most, so that several concepts disturb each other little, and the rest of
    the image stays. The quantile is that of each sample, and of states (C, H, W) of each channel, as in the authors'
    program. ν, the momentum, starts at 0 and becomes β ν + (1 − β) γ at each step, also while the run warms up; it goes
    from step to step with the walk. Without it nothing is evaluated while the run warms up. A negative w_i moves away
    from its concept, the paper's negative direction. On base ``cfg`` the prediction is the paper's, with `strength` for
    s_e; a scheduled strength leaves ν as it is. Each concept costs one row a sample.

    Example: ``--character O --guidance-scale 2 --force 'semantic:targets=["Q"],strength=4,threshold=0.8'``
    """

    targets: tuple[str, ...] = targets_field()
    weights: tuple[float, ...] | None = weights_field(
        "w_i, a number for each concept, negative to move away from it; 1 / number of concepts when left out"
    )
    strength: Schedule = scalar_field(5.0, "multiplies all of it, s_e, at least 0", ("scale",))
    threshold: float = _share(0.9, "share of the elements that a concept leaves alone, 0 … 1 (not 1)", whole=False)
    warmup: float = _share(0.2, "share of the run's steps that pass before it acts, 0 … 1", whole=True)
    momentum: float = _share(0.1, "share of the momentum that is added, s_m, 0 … 1", whole=True)
    momentum_beta: float = _share(0.4, "how slowly the momentum changes, β, 0 … 1 (not 1)", whole=False)

    directions: ClassVar[Directions] = {"weight": _TOWARD, "strength": _TOWARD}

    @property
    def all_weights(self) -> tuple[float, ...]:
        """A number for each concept."""
        return (1.0 / len(self.targets),) * len(self.targets) if self.weights is None else self.weights

    def _warm(self, at: StepInfo) -> bool:
        return at.index >= self.warmup * at.steps

    def _read(self, at: StepInfo) -> list[tuple[Cond, float]]:
        """The concepts that matter at a step, with their weights."""
        if self.strength(at) == 0 or not (self._warm(at) or self.momentum):
            return []
        pairs = zip(self.targets, self.all_weights, strict=True)
        return [(named(name), weight) for name, weight in pairs if weight != 0]

    def idle(self, at: StepInfo) -> bool:
        """See `emnist_diff_plugins.capabilities.Idles`."""
        return self.strength(at) == 0 or not self._warm(at) or not any(self.all_weights)

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        read = [cond for cond, _ in self._read(at)]
        return (*read, NULL) if read else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        edit, before, read = step.x.new_zeros(step.x.shape), step.memory.get("momentum"), self._read(step.at)
        if not read:
            if before is not None:
                step.remember("momentum", before)
            return edit
        for cond, weight in read:
            edit = edit + weight * largest(predictions.direction(cond), self.threshold)
        if self.momentum:
            before = torch.zeros_like(edit) if before is None else before
            edit = edit + self.momentum * before
            step.remember("momentum", self.momentum_beta * before + (1.0 - self.momentum_beta) * edit)
        return self.strength(step.at) * edit if self._warm(step.at) else torch.zeros_like(edit)
