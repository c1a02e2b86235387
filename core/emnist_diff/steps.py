"""What each role is handed as a step happens, a frozen step of its own, and what a scheduler returns.

B is the number of samples in a batch, `*shape` the shape of one state (pixels, a latent, tokens).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs

from emnist_diff.brief import briefly
from emnist_diff.timeline import PredictionType, StepInfo, Timeline

if TYPE_CHECKING:  # the contracts can be read without paying for torch
    from torch import Tensor


class NoiseSource(Protocol):
    """``noise()`` is (B, *shape) standard normal, keyed by (seed, sample, step, component, stream). A component that
    needs several independent draws a step names the streams."""

    def __call__(self, stream: str = "") -> Tensor:
        """The draw of one stream; the same whenever it is asked for."""


def forget(name: str, value: Tensor) -> None:
    """What `remember` is at evaluations inside a step: writes are dropped."""


@briefly
@attrs.frozen(eq=False, kw_only=True)
class Step:
    """A step as it happens, for a batch: what every role is handed.

    at: what was known before.  x: the state x_t, (B, *shape).
    labels: (B,) the samples' own class indices.  sample_ids: (B,) ids within the run.
    noise: draws the component's keyed noise; the only source of randomness that a plugin may use.
    memory: what the component kept at the step before, (B, …) by name; {} at the first step, and after one at which it
    kept nothing. Evaluations inside a step can read it.
    prediction_type: what predictions, their base and their sum are; `parameterization` converts.
    """

    at: StepInfo
    x: Tensor
    labels: Tensor
    sample_ids: Sequence[int]
    noise: NoiseSource
    memory: Mapping[str, Tensor] = attrs.field(factory=dict)
    prediction_type: PredictionType = "epsilon"


@briefly
@attrs.frozen(eq=False, kw_only=True)
class ForceStep(Step):
    """What a force is handed.

    base: the prediction before forces, (B, *shape).
    sum: base + the forces so far, (B, *shape); a rule that is not additive reads it and returns a difference.
    remember: ``remember(name, value)`` keeps a tensor (B, …) for the same component at the next step; at evaluations
    inside a step it is dropped.
    """

    base: Tensor
    sum: Tensor
    remember: Callable[[str, Tensor], None] = forget


@briefly
@attrs.frozen(eq=False, kw_only=True)
class DriftStep(ForceStep):
    """What a drift is handed: `x` is the state before the scheduler's move, `sum` the prediction at it.

    evaluate: ``evaluate(x)`` is the prediction, base and forces, at another state (B, *shape) where the step ends, for
    drifts that are `protocols.Evaluates`. Raises `RunFailed` where it is called more often than they say.
    """

    evaluate: Callable[[Tensor], Tensor]


@briefly
@attrs.frozen(eq=False, kw_only=True)
class SchedulerStep(Step):
    """What a scheduler is handed, which returns its memory in a `SchedulerResult`.

    timeline: all steps of the run.
    evaluate: ``evaluate(x, number)`` is the prediction, base and forces, at another state (B, *shape) and the inner
    level of that number. Raises `RunFailed` for a level that the timeline does not name.
    """

    timeline: Timeline
    evaluate: Callable[[Tensor, int], Tensor]


@briefly
@attrs.frozen(eq=False)
class SchedulerResult:
    """Where a scheduler went.

    x_prev: the next state, (B, *shape).  x0: the estimate of the image, (B, *shape).
    memory: tensors (B, …) that the next step of the same samples is given; nothing else may be remembered, so that
    a walk can stop after any step and go on from what was written down.
    """

    x_prev: Tensor
    x0: Tensor
    memory: Mapping[str, Tensor] = attrs.field(factory=dict)
