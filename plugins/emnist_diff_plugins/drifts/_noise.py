"""What every drift that adds noise shares."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Constant, Schedule, schedule
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo


def _at_least_0(instance: Any, attribute: Any, value: object) -> None:
    if isinstance(value, Constant) and value.value < 0:
        raise ConfigError(f"{attribute.name} = {value.value:g} must be at least 0")


def scale_field() -> Any:
    """How much noise."""
    return attrs.field(
        default=0.03,
        converter=schedule,
        validator=_at_least_0,
        metadata={"help": "standard deviation of the noise added a step", "aliases": ("scale",)},
    )


def skip_last_field() -> Any:
    """Whether the final image is left as it is."""
    return attrs.field(
        default=True, metadata={"help": "leave the last step alone, so that no noise stays in the image"}
    )


@attrs.frozen
class NoiseDrift:
    """x' = x + noise_scale · shape · N(0, 1), where `shape` is what a drift of this kind says of a step."""

    noise_scale: Schedule = scale_field()
    skip_last: bool = skip_last_field()

    def shape(self, at: StepInfo) -> float:
        """The noise of a step as a share of `noise_scale`."""
        raise NotImplementedError

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return left_alone(self.skip_last, at) or self.noise_scale(at) * self.shape(at) == 0

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        if left_alone(self.skip_last, step.at):
            return x
        scale = self.noise_scale(step.at) * self.shape(step.at)
        return x + scale * step.noise() if scale else x


def left_alone(skip_last: bool, at: StepInfo) -> bool:
    """Whether this is the last step, and left as it is."""
    return skip_last and at.index == at.steps - 1


def share_done(at: StepInfo) -> float:
    """step / steps: 0 at the first step, 1 − 1/steps at the last."""
    return at.index / at.steps
