"""Anything but some classes, as far as that does not oppose the class that is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
from emnist_diff.conditions import NULL, Cond, Predictions, named
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Direction, Directions
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._logic import Composition, targets_field, weights_field
from emnist_diff_forces_contrib._per_sample import dot
from emnist_diff_forces_contrib._targets import Target, check, condition, target_field

_AWAY = Direction("leaves its classes out", "and to move toward them", repeated=True)
_FLOOR = 1e-30


def perpendicular(a: Tensor, to: Tensor) -> Tensor:
    """The part of `a` at a right angle to `to`, sample by sample; `a` itself where `to` is 0; (B, *shape) all."""
    return a - dot(a, to) / dot(to, to).clamp_min(_FLOOR) * to


@attrs.frozen
class PerpNeg(Composition):
    """−strength · Σ_i w_i F⊥(c_i), with F(c) = e_c − e_null and F⊥(c) = F(c) − ⟨F(c), F(k)⟩ / |F(k)|² · F(k), the part
    of it at a right angle to F(k) of the class k that is kept.

    Perp-Neg (Armandpour, Sadeghian, Zheng, Sadeghian and Zhou, 2023, "Re-imagine the negative prompt algorithm",
    arXiv:2304.04968). What the classes c_i have in common with k is not taken away, which plain negation
    (``not``) does. On base ``cfg`` of scale s, with s for the strength, the prediction is the paper's,
    e_null + s (F(k) + Σ_i w_i F⊥(c_i)), whose w_i are negative where these are positive. Inner products are those of
    each sample by itself, over all elements; predictions of noise, v, velocity and image give the same directions. The
    contribution of a sample is at a right angle to its F(k) whatever the classes are, and 0 where they are k.
    Each class costs one row a sample.

    Example: ``--character E --guidance-scale 3 --force 'perp_neg:targets=["F"],strength=3'``
    """

    targets: tuple[str, ...] = targets_field()
    weights: tuple[float, ...] | None = weights_field(
        "w_i, a number of at least 0 for each class; 1 each when left out", least=0
    )
    strength: Schedule = scalar_field(
        1.0, "multiplies all of it, as a guidance scale does; a negative one is read as its magnitude", ("scale",)
    )
    keep: Target = target_field("the class that is kept", ("target",))

    directions: ClassVar[Directions] = {"weight": _AWAY, "strength": _AWAY}

    def bind(self, space: ConditionSpace) -> Any:
        """The force for a model with these classes. Raises `UnknownName` for a class that is not there."""
        check(self.keep, space)
        return super().bind(space)

    def _read(self, at: StepInfo) -> list[tuple[Cond, float]]:
        """The classes that matter at a step, with their weights."""
        if self.strength(at) == 0:
            return []
        pairs = zip(self.targets, self.all_weights, strict=True)
        return [(named(name), weight) for name, weight in pairs if weight != 0]

    def idle(self, at: StepInfo) -> bool:
        """See `emnist_diff_plugins.capabilities.Idles`."""
        return not self._read(at)

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        read = [cond for cond, _ in self._read(at)]
        return (condition(self.keep), NULL, *read) if read else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        total, read = step.x.new_zeros(step.x.shape), self._read(step.at)
        if not read:
            return total
        kept = predictions.direction(condition(self.keep))
        for cond, weight in read:
            total = total - weight * perpendicular(predictions.direction(cond), kept)
        return self.strength(step.at) * total
