"""Components that do nothing in a whole run, by their weight or by their settings: they are said at the start.

A force or drift whose settings can leave a step alone says so by an optional method ``idle(at: StepInfo) -> bool``:
True where it adds nothing, or hands the state back as it is, whatever states and predictions are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from emnist_diff.components import call_component
from emnist_diff.engine.plan import WeightedDrift, WeightedForce
from emnist_diff.events import get_logger
from emnist_diff.protocols import Idles, offers
from emnist_diff.timeline import StepInfo, Timeline

log = get_logger()


def places(timeline: Timeline) -> tuple[StepInfo, ...]:
    """Every place of a run at which something may be evaluated: its steps, the schedulers' further evaluations in
    them, and the ends of steps, at which drifts evaluate."""
    steps = range(len(timeline))
    ends = (timeline.end(i) for i in steps)
    return (*(at for i in steps for at in timeline.stages(i)), *(end for end in ends if end is not None))


def report_idle(timeline: Timeline, terms: Iterable[WeightedForce], drifts: Iterable[WeightedDrift]) -> None:
    """Log a warning for each force and drift that does nothing at any step."""
    everywhere = places(timeline)
    steps = [timeline.at(i) for i in range(len(timeline))]
    for term in terms:
        _report("force", term.name, why_idle(term.label, term.force, term.weight, everywhere))
    for item in drifts:
        _report("drift", item.name, why_idle(item.label, item.drift, item.weight, steps))


def why_idle(label: str, component: Any, weight: Callable[[StepInfo], float], steps: Sequence[StepInfo]) -> str | None:
    """Why a component does nothing at any of these steps; None where it does something, as far as it says.

    label: how messages call it. Raises `PluginError` for a component whose `idle` raises.
    """
    weighty = [at for at in steps if weight(at) != 0]
    if not weighty:
        return "its weight is 0 at every step"
    if not offers(component, Idles) or not all(call_component(label, component.idle, at) for at in weighty):
        return None
    return f"its settings change nothing at any of the {steps[0].steps} steps"


def _report(kind: str, name: str, reason: str | None) -> None:
    if reason is not None:
        hint = f"emnist-diff plugins show {name} --kind {kind} lists its settings"
        log.warning(f"{kind}.unused", name=name, reason=reason, hint=hint)
