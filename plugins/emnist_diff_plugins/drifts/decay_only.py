"""Decay toward zero."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.schedules import Constant, Schedule, schedule
from emnist_diff.steps import DriftStep
from emnist_diff.timeline import StepInfo


def _share(instance: Any, attribute: Any, value: object) -> None:
    if isinstance(value, Constant) and not 0.0 <= value.value <= 1.0:
        raise ConfigError(f"decay = {value.value:g} is not within 0 … 1")


def decay_field(default: float) -> Any:
    """How much decay."""
    return attrs.field(
        default=default,
        converter=schedule,
        validator=_share,
        metadata={"help": "share of the state taken away a step, 0 … 1"},
    )


def decayed(x: Tensor, decay: Schedule, at: StepInfo) -> Tensor:
    """x (1 − decay). Raises `ConfigError` for a decay outside 0 … 1."""
    share = decay(at)
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"decay = {share:g} at step {at.index} is not within 0 … 1")
    return (1.0 - share) * x if share else x


@attrs.frozen
class DecayOnly:
    """x' = x (1 − decay).

    Example: ``--drift "decay_only:decay=0.01"``
    """

    decay: Schedule = decay_field(0.01)

    def idle(self, at: StepInfo) -> bool:
        """See `protocols.Drift`."""
        return self.decay(at) == 0

    def __call__(self, x: Tensor, step: DriftStep) -> Tensor:
        return decayed(x, self.decay, step.at)
