"""What forces, drifts and schedulers are handed as a step happens, and what a scheduler returns.

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


def no_noise(stream: str = "") -> Tensor:
    """The noise source of a step that no component is acting in."""
    raise RuntimeError("noise is drawn by components while they act on a step")


def no_look(x: Tensor, stage: int = 0) -> Tensor:
    """What a step without further evaluations answers whoever asks for one."""
    raise RuntimeError(
        "there is nothing to evaluate: schedulers name the levels of further evaluations in their timeline, drifts say "
        "by evaluations(at) how often they ask, and no drift can where the step ends in the image"
    )


def not_remembered(name: str, value: Tensor) -> None:
    """Keeps nothing: for schedulers, which return their memory in a `SchedulerResult`, and at second evaluations."""


@briefly
@attrs.define(eq=False)
class Step:
    """A step as it happens, for a batch.

    at: what was known before.  x: the state x_t, (B, *shape).
    base: the prediction before forces, (B, *shape).
    sum: the running sum base + forces so far, (B, *shape); a non-additive rule reads it and returns a difference.
    labels: (B,) the samples' own class indices.  sample_ids: (B,) ids within the run.
    prediction_type: what base, score and predictions are; `parameterization` converts.
    noise: draws the acting component's keyed noise; the only source of randomness a plugin may use.
    memory: what the acting component left at the step before, (B, …) by name; {} at the first step, and after one at
    which it left nothing.

    For forces and drifts:
    remember: keeps a tensor (B, …) under a name for the next step. At second evaluations, of the scheduler and of
    drifts, memory can be read, and what is remembered there is dropped.

    For drifts and schedulers:
    evaluate: the prediction, base and forces, at another state (B, *shape): ``evaluate(x)`` of a drift that declares
    `evaluations`, at the level where the step ends; ``evaluate(x, number)`` of a scheduler, at its inner level of that
    number.

    For schedulers alone:
    timeline: all steps of the run.
    """

    at: StepInfo
    x: Tensor
    labels: Tensor
    sample_ids: Sequence[int]
    noise: NoiseSource = no_noise
    sum: Tensor | None = None
    base: Tensor | None = None
    timeline: Timeline | None = None
    memory: Mapping[str, Tensor] = attrs.field(factory=dict)
    evaluate: Callable[..., Tensor] = no_look
    remember: Callable[[str, Tensor], None] = not_remembered
    prediction_type: PredictionType = "epsilon"


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
