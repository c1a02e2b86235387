"""The rules for the timelines of schedulers: from noise to the image, and the same whenever they are planned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from emnist_diff.errors import ConfigError, EmnistDiffError
from emnist_diff.timeline import Level, Timeline
from emnist_diff_testing.rules import rule
from emnist_diff_testing.schedulers import SchedulerBench


@rule("scheduler", "bind() and plan() know at least one process, and say so where they do not", "a run names it first")
def binds(bench: SchedulerBench) -> Iterator[str]:
    if not bench.walkable:
        yield "; ".join(f"{label}: {error}" for label, error in bench.refusals.items())


@rule(
    "scheduler",
    "the timeline goes from noise to the image without a gap: alpha_bar rises, but where noise is added, and ends at 1",
    "forces, drifts, files and plots read the levels there, and a walk that ends before 1 leaves noise in the image",
)
def timeline(bench: SchedulerBench) -> Iterator[str]:
    adds_noise = any(move.draws for _, move in bench.moves)
    for model in bench.walkable:
        scheduler = bench.bound(model)
        for steps in (1, 2, 7, 20):
            try:
                planned = scheduler.plan(steps)
            except ConfigError:
                continue  # it may need more steps than that, and says so
            for wrong in _gaps(planned, steps, adds_noise):
                yield f"on {model.label}, {steps} steps: {wrong}"
                return


def _gaps(planned: Timeline, steps: int, adds_noise: bool) -> Iterator[str]:
    if len(planned) != steps:
        yield f"the timeline has {len(planned)} steps"
        return
    for name in ("timestep", "alpha_bar", "alpha_bar_next"):
        values = getattr(planned, name)
        if not isinstance(values, np.ndarray) or values.dtype != np.float64 or values.shape != (steps,):
            yield f"{name} is no float64 array of {steps} numbers"
            return
        if not np.isfinite(values).all():
            yield f"{name} is not finite"
            return
    if planned.alpha_bar_next[-1] != 1.0:
        yield f"it ends at alpha_bar {planned.alpha_bar_next[-1]:.6g}, not at 1"
    if (planned.alpha_bar < 0).any() or planned.alpha_bar[-1] >= 1.0:
        yield "alpha_bar leaves 0 … 1"
    falling = np.flatnonzero(planned.alpha_bar_next <= planned.alpha_bar)
    if len(falling) and not (adds_noise and planned.alpha_bar[0] < planned.alpha_bar[-1]):
        yield f"alpha_bar does not rise in step {falling[0]}"
    if (planned.alpha_bar[1:] != planned.alpha_bar_next[:-1]).any():
        yield "a step does not begin where the one before it ended"
    if planned.inner and len(planned.inner) != steps:
        yield f"inner has {len(planned.inner)} entries for {steps} steps"
    elif not all(isinstance(level, Level) for levels in planned.inner for level in levels):
        yield "inner holds something that is no Level"


@rule(
    "scheduler",
    "plan() is pure: the same steps, the same timeline",
    "the plan, the file and a resumed run each ask for it",
)
def pure_plan(bench: SchedulerBench) -> Iterator[str]:
    for model in bench.walkable:
        scheduler = bench.bound(model)
        one, _, other = (scheduler.plan(n) for n in (model.steps, model.steps + 2, model.steps))
        for name in ("timestep", "alpha_bar", "alpha_bar_next"):
            if not np.array_equal(getattr(one, name), getattr(other, name)):
                yield f"on {model.label}: {name} is another one the second time"
                return


@rule(
    "scheduler",
    "numbers of steps that cannot be planned are a ConfigError",
    "it is said before any work is done, in one line; a traceback helps nobody",
)
def impossible_steps(bench: SchedulerBench) -> Iterator[str]:
    for model in bench.walkable:
        for steps in (1, 1001, 3000):
            try:
                bench.bound(model).plan(steps)
            except EmnistDiffError:
                continue
            except Exception as error:  # whatever it is, it is no ConfigError
                yield f"on {model.label}, {steps} steps: {type(error).__name__}: {error}"
                return
