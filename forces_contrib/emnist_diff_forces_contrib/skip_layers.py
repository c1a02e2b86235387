"""Guidance away from a network without some of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs
from attrs import validators as v
from emnist_diff.conditions import Cond
from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Schedule
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.capabilities import Directions
from emnist_diff_plugins.variants import Variant

from emnist_diff_forces_contrib._fields import scalar_field
from emnist_diff_forces_contrib._worse import AWAY, WorseNetwork, target_field

_MOST = 1000


def _layers(value: object) -> tuple[int, ...]:
    """Layers as distinct numbers, ascending, which one float can hold as bits."""
    numbers = [value] if isinstance(value, int) else value
    if not isinstance(numbers, Sequence) or isinstance(numbers, str | bytes) or not numbers:
        raise ConfigError(f"layers: expected a list of the numbers of layers, such as [7, 8, 9], got {value!r}")
    for number in numbers:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < _MOST:
            raise ConfigError(f"layers: {number!r} is no layer — they are counted from 0")
    layers = tuple(sorted(set(numbers)))
    if layers[-1] - layers[0] > 52:
        raise ConfigError(f"layers: {layers[0]} and {layers[-1]} are more than 52 apart — use one force for each")
    return layers


@attrs.frozen
class SkipLayers(WorseNetwork):
    """strength · (e_c − ê_c) for a part of the run, where ê is the network with some of its layers skipped.

    Skip-layer guidance, as Stability AI's program for Stable Diffusion 3.5 and diffusers have it, a form of
    spatiotemporal skip guidance (Hyung, Kim, Hong, Kim and Choo, 2024, arXiv:2411.18664, its residual
    skip). What the layers do for a picture, such as its anatomy, is strengthened. It acts at the steps i of n with
    start · n ≤ i < stop · n. For SD3.5 medium their authors use layers 7, 8 and 9, a strength of 2.8, and the interval
    that is the default, beside classifier-free guidance of 5. It needs a network that declares the variant
    ``skip_layers``: of a transformer a layer is a block, of ``unet2d`` a residual layer with its attention, numbered
    from 0 in the order of evaluation; what stays of a skipped one is its shortcut. It costs one more row a sample at
    the steps where it acts.

    Example: ``--force "skip_layers:layers=[3,4],strength=2,stop=0.5"``
    """

    layers: tuple[int, ...] = attrs.field(
        converter=_layers, metadata={"help": "the layers that are skipped, numbers from 0", "aliases": ("layer",)}
    )
    strength: Schedule = scalar_field(2.8, "s, ≥ 0; 0 leaves a step alone", ("scale",))
    start: float = attrs.field(
        default=0.01,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the run's steps at which it begins, 0 … 1"},
    )
    stop: float = attrs.field(
        default=0.2,
        converter=float,
        validator=v.and_(v.ge(0), v.le(1)),
        metadata={"help": "share of the run's steps at which it ends, 0 … 1"},
    )
    target: str | None = target_field()

    directions: ClassVar[Directions] = {"weight": AWAY, "strength": AWAY}

    def __attrs_post_init__(self) -> None:
        if not self.start < self.stop:
            raise ConfigError(f"skip_layers: start = {self.start:g} must be below stop = {self.stop:g}")

    def worse(self, cond: Cond) -> Cond:
        return attrs.evolve(cond, variant=str(Variant("skip_layers", float(sum(2**i for i in self.layers)))))

    def strength_at(self, at: StepInfo) -> float:
        return self.strength(at) if self.start * at.steps <= at.index < self.stop * at.steps else 0.0
