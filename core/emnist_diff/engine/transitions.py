"""What moves the state: the scheduler, then the drifts."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from emnist_diff.engine.batch import BatchEngine
from emnist_diff.engine.checks import blamed_on
from emnist_diff.engine.evaluation import Evaluation, evaluate
from emnist_diff.engine.memory import Memory
from emnist_diff.engine.plan import WeightedDrift
from emnist_diff.errors import RunFailed
from emnist_diff.steps import DriftStep, SchedulerResult, SchedulerStep
from emnist_diff.timeline import StepInfo

SCHEDULER = "scheduler"
"""The scope of the scheduler's noise and memory."""


def apply_scheduler(run: BatchEngine, at: StepInfo, x: Tensor, prediction: Tensor, memory: Memory) -> SchedulerResult:
    """The scheduler's step from x (B, *shape). It reads the memory of the step before, and returns its own."""
    label, before = "the scheduler", memory.closed()

    def inside(x_inner: Tensor, number: int) -> Tensor:
        if not 0 <= number < len(at.inner):
            raise RunFailed(
                f"{label} evaluated inner level {number}, and its timeline names {len(at.inner)} (step {at.index})"
            )
        level = at.inside(number)
        run.checks.require_state(x_inner, x, label, level)
        return evaluate(run, level, x_inner, before, f"@{number + 1}").sum

    timeline = run.engine.timeline
    step = SchedulerStep(**run.handed(at, x, SCHEDULER, before), timeline=timeline, evaluate=inside)
    with blamed_on(label, at):
        result = run.engine.scheduler.step(prediction, step)
    if not isinstance(result, SchedulerResult):
        raise RunFailed(f"{label} returned {type(result).__name__} instead of SchedulerResult (step {at.index})")
    run.checks.require_state(result.x_prev, x, label, at)
    memory.keep(SCHEDULER, result.memory)
    return result


def apply_drifts(run: BatchEngine, at: StepInfo, start: Evaluation, x: Tensor, memory: Memory) -> list[Tensor]:
    """The states, (B, *shape) each, before the first drift and after each of them.

    start: the evaluation at the state that the step began with.  x: the state that the scheduler returned.
    """
    states = [x]
    for item in run.engine.drifts:
        with blamed_on(item.label, at):
            weight = item.weight(at)
        before = after = states[-1]
        if weight != 0:
            handed = run.handed(at, start.x, item.stream, memory) | {"base": start.base, "sum": start.sum}
            evaluate_end, remember = _evaluate_end(run, item, at, start.x, memory), memory.remembering(item.stream)
            step = DriftStep(**handed, remember=remember, evaluate=evaluate_end)
            with blamed_on(item.label, at):
                after = item.drift(before, step)
            run.checks.require_state(after, x, item.label, at)
            if weight != 1:
                after = before + weight * (after - before)
                run.checks.require_state(after, x, item.label, at)
        states.append(after)
    return states


def _evaluate_end(
    run: BatchEngine, item: WeightedDrift, at: StepInfo, like: Tensor, memory: Memory
) -> Callable[[Tensor], Tensor]:
    """How a drift evaluates the network where its step ends, as often as it declared."""
    end = run.engine.timeline.end(at.index)
    allowed, used = item.evaluations(at, end), 0

    def evaluate_end(x: Tensor) -> Tensor:
        nonlocal used
        used += 1
        if end is None or used > allowed:
            raise RunFailed(
                f"{item.label} evaluates the network more than the {allowed} times that it may (step {at.index}) — its "
                "evaluations(at) says how often; no drift can where the step ends in the image"
            )
        run.checks.require_state(x, like, item.label, end)
        return evaluate(run, end, x, memory.after(), f"@{item.stream}.{used}").sum

    return evaluate_end
