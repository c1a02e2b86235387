"""Symmetric images: the average over the images of a state under flips and rotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs
import torch
from attrs import validators as v
from emnist_diff.errors import ConfigError
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

Motion = Callable[[Tensor], Tensor]


def _turned(quarters: int) -> Motion:
    return lambda x: torch.rot90(x, quarters, (-2, -1))


def _mirrored(quarters: int) -> Motion:
    return lambda x: torch.rot90(x, quarters, (-2, -1)).flip(-1)


GROUPS: dict[str, tuple[Motion, ...]] = {
    "mirror_lr": (_turned(0), _mirrored(0)),
    "mirror_ud": (_turned(0), _mirrored(2)),
    "rot180": (_turned(0), _turned(2)),
    "rot90": tuple(_turned(q) for q in range(4)),
    "d4": (*(_turned(q) for q in range(4)), *(_mirrored(q) for q in range(4))),
}
"""Groups of motions of an image (…, H, W): left and right exchanged; top and bottom; half a turn; quarter turns; all
eight symmetries of a square, the dihedral group."""

SQUARE = ("rot90", "d4")
"""The groups that exchange height and width."""


@attrs.frozen
class Symmetry:
    """x' = x + strength (mean of g x over all g of the group − x): with strength 1 every state is symmetric, and so is
    the image. The average is the projection of states on the symmetric ones (the Reynolds operator of the group).

    States are images (…, H, W), square ones where the group turns them by a quarter. Averaging takes noise away too: of
    the first state, which is not symmetric yet, a group of n motions leaves 1 / √n of the noise's standard deviation.
    Later states are nearly symmetric already and lose little.

    Example: ``--drift "symmetry:group=mirror_lr"``
    """

    group: Literal["mirror_lr", "mirror_ud", "rot180", "rot90", "d4"] = attrs.field(
        default="mirror_lr",
        validator=v.in_(tuple(GROUPS)),
        metadata={
            "help": "mirror_lr (left and right alike), mirror_ud (top and bottom), rot180 (half a turn), "
            "rot90 (quarter turns), d4 (all of these)"
        },
    )
    strength: float = attrs.field(
        default=1.0,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the way to the average, 0 … 1"},
    )

    def require_shape(self, shape: tuple[int, ...]) -> None:
        """See `protocols.Drift`."""
        if len(shape) < 2:
            raise ConfigError(f"symmetry: states of shape {shape} are no images (…, height, width)")
        if self.group in SQUARE and shape[-1] != shape[-2]:
            raise ConfigError(f"symmetry: group {self.group!r} needs square images, and states have shape {shape}")

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return self.strength == 0

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        self.require_shape(tuple(x.shape[1:]))
        return x + self.strength * (average(x, self.group) - x)


def average(x: Tensor, group: str) -> Tensor:
    """The mean of images (…, H, W) over the motions of a group."""
    return torch.stack([move(x) for move in GROUPS[group]]).mean(0)
