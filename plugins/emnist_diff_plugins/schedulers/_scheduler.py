"""What schedulers of diffusions and of flows share: from settings to a scheduler, and from a prediction to a move."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from torch import Tensor

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import ForwardProcess, PredictionType, StepInfo, Timeline
from emnist_diff_plugins.schedulers._estimates import Estimates, X0Rule

LookAgain = Callable[[Tensor, int], Estimates]
"""Estimates at another state (B, *shape) and the inner level of that number."""


@attrs.frozen(kw_only=True)
class Settings(X0Rule):
    """The settings of a scheduler; a subclass says how it moves."""

    @property
    def name(self) -> str:
        """As it is called in messages: its module's."""
        return type(self).__module__.rpartition(".")[2]

    def move(self, here: Estimates, step: SchedulerStep, again: LookAgain) -> SchedulerResult:
        """Where a step leads from its estimates."""
        raise NotImplementedError


@attrs.frozen(eq=False)
class Bound:
    """A `protocols.Scheduler` for one forward process.

    timeline: lays so many steps.
    """

    settings: Settings
    schedule: ForwardProcess
    prediction: PredictionType
    timeline: Callable[[int], Timeline]

    def plan(self, steps: int) -> Timeline:
        return self.timeline(steps)

    def step(self, prediction: Tensor, step: SchedulerStep) -> SchedulerResult:
        def again(x: Tensor, number: int) -> Estimates:
            return self._estimates(step.evaluate(x, number), x, step.at.inside(number))

        return self.settings.move(self._estimates(prediction, step.x, step.at), step, again)

    def _estimates(self, prediction: Tensor, x: Tensor, at: StepInfo) -> Estimates:
        return self.settings.estimates(prediction, x, at, self.prediction, self.schedule.clip_sample)
