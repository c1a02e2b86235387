"""Where a run evaluates its forces and drifts."""

from __future__ import annotations

from emnist_diff.timeline import StepInfo, Timeline


def steps_of(timeline: Timeline) -> tuple[StepInfo, ...]:
    """The steps of a run, at which drifts act."""
    return tuple(timeline.at(i) for i in range(len(timeline)))


def places(timeline: Timeline) -> tuple[StepInfo, ...]:
    """Every place of a run at which a force may be evaluated: its steps, the schedulers' further evaluations in them,
    and the ends of steps, at which drifts evaluate."""
    steps = range(len(timeline))
    ends = (timeline.end(i) for i in steps)
    return (*(at for i in steps for at in timeline.stages(i)), *(end for end in ends if end is not None))
