"""All of several classes at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import attrs
from emnist_diff.conditions import NULL, Cond, Predictions, named
from emnist_diff.schedules import Schedule
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from torch import Tensor

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._logic import TOWARD, Composition, targets_field, weights_field


@attrs.frozen
class And(Composition):
    """strength · Σ_i w_i (e_i − e_null): the score of p(x) · Π_i (p(x | c_i) / p(x))^w_i on base ``uncond``.

    Conjunction (Liu et al., 2022, arXiv:2206.01714, equation 11). Where several classes stand for one image each, the
    product of their densities at a noise level is not the product noised to that level, and following its score does
    not sample it; the drift ``langevin`` of emnist-diff-drifts-contrib, with ``acceptance``, corrects this at every
    level (Du et al., 2023, "Reduce, Reuse, Recycle", arXiv:2302.11552, section 4). Each class costs a row a sample.

    Example: ``--base uncond --force 'and:targets=["A","B"],strength=2'``
    """

    targets: tuple[str, ...] = targets_field()
    weights: tuple[float, ...] | None = weights_field(
        "w_i, a number for each class, a negative one of which leaves it out, as not does; 1 each when left out"
    )
    strength: Schedule = scalar_field(1.0, "multiplies all of it, as a guidance scale does; at least 0")

    directions: ClassVar[Directions] = {"weight": TOWARD, "strength": TOWARD}

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Force`."""
        return self.strength(at) == 0 or not any(self.all_weights)

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        if self.strength(at) == 0:
            return ()
        read = [named(name) for name, weight in zip(self.targets, self.all_weights, strict=True) if weight != 0]
        return (*read, NULL) if read else ()

    def __call__(self, predictions: Predictions, step: ForceStep) -> Tensor:
        total = step.x.new_zeros(step.x.shape)
        strength = self.strength(step.at)
        if strength == 0:
            return total
        for name, weight in zip(self.targets, self.all_weights, strict=True):
            if weight != 0:
                total = total + weight * predictions.direction(named(name))
        return strength * total
