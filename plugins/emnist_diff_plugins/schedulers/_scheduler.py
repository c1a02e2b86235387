"""What schedulers of diffusions and of flows share: from settings to a scheduler, and from a prediction to a move."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from torch import Tensor

from emnist_diff.steps import SchedulerResult, SchedulerStep
from emnist_diff.timeline import ForwardProcess, PredictionType, StepInfo, Timeline
from emnist_diff_plugins.schedulers._estimates import Estimates, X0Rule

Estimator = Callable[[Tensor, int], Estimates]
"""Estimates at another state (B, *shape) and the inner level of that number."""


@attrs.frozen(kw_only=True)
class Settings(X0Rule):
    """The settings of a scheduler; a subclass says how it moves."""

    @property
    def name(self) -> str:
        """As it is called in messages: its module's."""
        return type(self).__module__.rpartition(".")[2]

    def move(self, start: Estimates, step: SchedulerStep, estimate: Estimator) -> SchedulerResult:
        """Where a step leads from its estimates.  estimate: estimates at an inner level."""
        raise NotImplementedError


@attrs.frozen(eq=False)
class Bound:
    """A `protocols.Scheduler` for one forward process.

    timeline: makes the timeline of so many steps.
    """

    settings: Settings
    process: ForwardProcess
    prediction_type: PredictionType
    timeline: Callable[[int], Timeline]

    def plan(self, steps: int) -> Timeline:
        return self.timeline(steps)

    def step(self, prediction: Tensor, step: SchedulerStep) -> SchedulerResult:
        def estimate(x: Tensor, number: int) -> Estimates:
            return self._estimates(step.evaluate(x, number), x, step.at.inside(number))

        return self.settings.move(self._estimates(prediction, step.x, step.at), step, estimate)

    def _estimates(self, prediction: Tensor, x: Tensor, at: StepInfo) -> Estimates:
        return self.settings.estimates(prediction, x, at, self.prediction_type, self.process.clip_sample)
