"""Calls of a pipeline of diffusers, followed step by step, and never changed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from torch import Tensor

from emnist_diff.errors import ConfigError
from emnist_diff.parameterization import to_x0
from emnist_diff.timeline import Level, rates
from emnist_diff_plugins.diffusers.levels import Levels

_RECORDED = "_recorded_by_emnist_diff"
"""The attribute of a pipeline's class that marks it as followed."""


@attrs.frozen(eq=False)
class CallStep:
    """A step of a call: the state that it starts from, the prediction that the scheduler was given, and its estimate of
    the image, (B, *shape) each, float32 on the CPU.  inner: levels at which it evaluated again.
    contributions: of the forces of a `ForceGuider`, whose sum with `base` is the prediction to the bit; () without one.
    weights: of these forces."""

    x: Tensor
    prediction: Tensor
    x0: Tensor
    base: Tensor
    timestep: float
    alpha_bar: float
    alpha_bar_next: float
    inner: tuple[Level, ...] = ()
    contributions: tuple[Tensor, ...] = ()
    weights: tuple[float, ...] = ()


@attrs.define(eq=False)
class Steps:
    """The steps that a scheduler takes during a call.

    guider: of the pipeline, or None.  end: the state behind the last step, (B, *shape).
    forces: names of the forces of the guider, in order.
    """

    levels: Levels
    guider: Any = None
    taken: list[CallStep] = attrs.field(factory=list)
    end: Tensor | None = None
    forces: tuple[str, ...] = ()

    def take(self, begins: bool, given: Mapping[str, Any], copies: tuple[Tensor, Tensor], answer: Any) -> None:
        """Note a call of ``step``.  begins: whether it began a step.  given: its arguments.  copies: state and
        prediction as they were before it.  answer: what it returned."""
        timestep = float(given["timestep"])
        begin, ends = self.levels.of_call(timestep)
        answered = answer[0] if isinstance(answer, tuple) else answer.prev_sample
        self.end = _copy(answered) * self.levels.scale(ends)
        if not begins:
            last = self.taken[-1]
            level = Level(timestep, begin, offset=1.0)
            self.taken[-1] = attrs.evolve(last, inner=(*last.inner, level), alpha_bar_next=ends)
            return
        x, prediction = copies[0] * self.levels.scale(begin), copies[1]
        self._require_walk(x, begin)
        if prediction.shape[1] == 2 * x.shape[1]:  # a network that also predicts a variance
            prediction = prediction[:, : x.shape[1]].clone()
        estimate = self._estimate(answer)
        if estimate is None:
            level_rates = rates(begin, self.levels.process)
            estimate = to_x0(prediction, x, level_rates, self.levels.prediction_type)
        step = CallStep(x, prediction, estimate, prediction, timestep, begin, ends)
        self.taken.append(self._with_forces(step, given["model_output"].dtype))

    def _with_forces(self, step: CallStep, dtype: torch.dtype) -> CallStep:
        """The same with what the forces of a `ForceGuider` added, where the scheduler was given their sum; in half
        precision the prediction is then the sum before it was rounded, so that the parts add up."""
        evaluation = getattr(self.guider, "evaluation", None)
        if evaluation is None or not torch.equal(_copy(evaluation.sum.to(dtype)), step.prediction):
            return step
        self.forces = tuple(name for name, _ in self.guider.weights)
        contributions = tuple(map(_copy, evaluation.contributions))
        weights = tuple(weight for _, weight in self.guider.weights)
        total, base = _copy(evaluation.sum), _copy(evaluation.base)
        return attrs.evolve(step, prediction=total, base=base, contributions=contributions, weights=weights)

    def _estimate(self, answer: Any) -> Tensor | None:
        """The scheduler's own estimate of the image, where it returns one."""
        if not self.levels.kind.estimates:
            return None
        if isinstance(answer, tuple):
            estimate = answer[1] if len(answer) > 1 else None
        else:
            estimate = getattr(answer, "pred_original_sample", getattr(answer, "denoised", None))
        return _copy(estimate) if isinstance(estimate, Tensor) else None

    def _require_walk(self, x: Tensor, alpha_bar: float) -> None:
        """Raise `ConfigError` where a step does not follow the one before."""
        if not self.taken:
            return
        last, name = self.taken[-1], type(self.levels.scheduler).__name__
        if x.shape != last.x.shape:
            raise ConfigError(
                f"states change from {tuple(last.x.shape)} to {tuple(x.shape)} amid a call — a file holds one shape"
            )
        if alpha_bar <= last.alpha_bar:
            raise ConfigError(
                f"{name} steps twice at one noise level, or back to a higher one, as pipelines of panoramas, inversion "
                "and RePaint do, which cannot be recorded — leave Recorder out"
            )


@contextmanager
def stepping(scheduler: Any, steps: Steps) -> Iterator[None]:
    """The scheduler with its ``step`` noted in `steps`, which ends with the block."""
    original = scheduler.step
    signature = inspect.signature(original)

    @functools.wraps(original)  # pipelines read the signature to see which arguments it takes
    def step(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        begins = steps.levels.begins
        copies = (_copy(given["sample"]), _copy(given["model_output"]))
        answer = original(*args, **kwargs)
        steps.take(begins, given, copies, answer)
        return answer

    held = vars(scheduler).get("step")
    scheduler.step = step
    try:
        yield
    finally:
        if held is None:
            del scheduler.step
        else:
            scheduler.step = held


Around = Callable[[Callable[[], Any], Mapping[str, Any]], Any]
"""Called in place of a pipeline, with what calls it, and with its arguments by name."""


def follow(pipeline: Any, around: Around) -> None:
    """Have `around` do the calls of a pipeline until `unfollow`, by a class of its own. Raises `ConfigError` where it
    is followed already."""
    kind = type(pipeline)
    if hasattr(kind, _RECORDED):
        raise ConfigError(f"{kind.__name__} is being recorded already — end the block of that Recorder first")
    signature = inspect.signature(kind.__call__)
    busy = False

    @functools.wraps(kind.__call__)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal busy
        if busy:  # a pipeline that calls itself
            return kind.__call__(self, *args, **kwargs)
        busy = True
        try:
            return around(lambda: kind.__call__(self, *args, **kwargs), _arguments(signature, self, args, kwargs))
        finally:
            busy = False

    names = {"__call__": call, "__module__": kind.__module__, "__qualname__": kind.__qualname__, _RECORDED: kind}
    object.__setattr__(pipeline, "__class__", type(kind.__name__, (kind,), names))


def unfollow(pipeline: Any) -> None:
    """Give a pipeline its own class back."""
    object.__setattr__(pipeline, "__class__", getattr(type(pipeline), _RECORDED))


def _arguments(signature: inspect.Signature, pipeline: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, those that were left out too; {} of a call that the pipeline will refuse."""
    try:
        bound = signature.bind(pipeline, *args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    given = dict(list(bound.arguments.items())[1:])
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    return given


def _copy(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float32, copy=True)
