"""Each region of the picture its own class."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import attrs
from attrs import validators as v
from emnist_diff.conditions import NULL, Cond, Predictions, named
from emnist_diff.errors import ConfigError
from emnist_diff.protocols import Denoiser
from emnist_diff.schedules import Schedule
from emnist_diff.spaces import ConditionSpace
from emnist_diff.steps import ForceStep
from emnist_diff.timeline import StepInfo
from torch import Tensor

from emnist_diff_forces_contrib._guidance import Guidance, scale_field
from emnist_diff_forces_contrib._logic import targets_field
from emnist_diff_forces_contrib._regions import BOXES, Mask, Region, masks_of, shares


def _read(force: Any) -> tuple[Region, ...]:
    return tuple(Region.read(mask) for mask in force.masks)


@attrs.frozen(kw_only=True)
class Regional(Guidance):
    """e_null + s (e − e_null) with e = Σ_r W_r e_r + (1 − Σ_r W_r) e_own: in each place the prediction of the region
    that it lies in, where no region is that of each sample's own class; in place of the base.

    MultiDiffusion (Bar-Tal, Yariv, Lipman and Dekel, 2023, arXiv:2302.08113, equation 5 and section 4.2), for one view
    of the size of the picture: W_r = M_r / max(1, Σ M), M_r being the mask of region r, so that regions that overlap
    share their places. A mask is one of left, right, top, bottom, centre; a box [left, top, right, bottom] in shares of
    the picture; a picture, white where its class is to hold, or an array (.npy) of 0 … 1, of the picture's proportions.
    `feather` blurs its border by a Gaussian of that standard deviation. Masks are drawn at the picture's size; for
    models over latents each place of the latents has the mean of what it covers. States without places, such as
    vectors, are refused. Each class costs one row a sample.

    Example: ``--base cond --force 'regional:targets=["E","3"],masks=["left",[0.5,0,1,1]],feather=0.05,scale=2'``
    """

    targets: tuple[str, ...] = targets_field()
    masks: tuple[Mask, ...] = attrs.field(
        converter=masks_of,
        metadata={
            "help": f"one for each of targets: {', '.join(BOXES)}, a picture, .npy, or [left, top, right, bottom]"
        },
    )
    scale: Schedule = scale_field()
    feather: float = attrs.field(
        default=0.0,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "standard deviation of the blur of borders, in shorter sides of the picture, 0 … 1"},
    )
    _regions: tuple[Region, ...] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_read, takes_self=True)
    )
    _shares: Tensor | None = attrs.field(init=False, repr=False, eq=False, default=None)

    def __attrs_post_init__(self) -> None:
        if len(self.masks) != len(self.targets):
            raise ConfigError(f"regional: {len(self.masks)} masks for {len(self.targets)} targets")

    def bind(self, space: ConditionSpace) -> Regional:
        """Itself, for a model with the classes of `space`. Raises `UnknownName` for a class that is not there."""
        for name in self.targets:
            if name != "own":
                space.resolve(name)
        return super().bind(space)

    def encoded(self, denoiser: Denoiser) -> Regional:
        """See `protocols.HoldsImages`: with its regions fitted to the states. Raises `ConfigError` for states without
        places, and for a mask that does not fit the picture or covers nothing of it."""
        fitted = copy.copy(self)
        object.__setattr__(fitted, "_shares", shares(self._regions, self.feather, denoiser))
        return fitted

    def conditions(self, at: StepInfo) -> Iterable[Cond]:
        scale = self.scale(at)
        if scale == 0:
            return (NULL,)
        regions = tuple(named(name) for name in self.targets)
        return (self.own, *regions) if scale == 1 else (NULL, self.own, *regions)

    def guided(self, predictions: Predictions, step: ForceStep) -> Tensor:
        scale = self.scale(step.at)
        if scale == 0:
            return predictions[NULL]
        if self._shares is None:
            raise ConfigError("regional: its regions are not fitted to a model — call encoded(denoiser) first")
        weights = self._shares.to(step.x)
        out = (1.0 - weights.sum(0)) * predictions[self.own]
        for weight, name in zip(weights, self.targets, strict=True):
            out = out + weight * predictions[named(name)]
        return out if scale == 1 else predictions[NULL] + scale * (out - predictions[NULL])
