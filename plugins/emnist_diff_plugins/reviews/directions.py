"""Components whose name says a direction, and what a negative number means to them.

A force named *repel* repels. Where a minus says once more what the name says already, the number is read as its
magnitude, which is reported, and recorded; where it says the opposite, it is refused, and so is a schedule that changes
its sign, with the name of the force that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from emnist_diff.components import Component
from emnist_diff.engine.checks import blamed_on
from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff.protocols import offers
from emnist_diff.schedules import Constant, Schedule
from emnist_diff.structuring import unstructure
from emnist_diff.surroundings import Review
from emnist_diff.timeline import StepInfo, Timeline
from emnist_diff_plugins.capabilities import Direction, Directions, HasDirections
from emnist_diff_plugins.reviews.places import places, steps_of
from emnist_diff_plugins.reviews.signs import magnitude, sign

log = get_logger()


OF_DRIFTS: Directions = {"weight": Direction("goes a share of its way", "a weight of at least 0")}
"""Of every drift that says nothing else: the opposite of its way would undo what it is for."""


@attrs.frozen
class NamedDirections(Review):
    """Reads negative numbers of forces and drifts as they are meant, or refuses them."""

    def amend(
        self, kind: str, component: Component, weight: Schedule, timeline: Timeline
    ) -> tuple[Component, Schedule]:
        """`Review.amend`. Raises `ConfigError` for a number that contradicts the direction, `RunFailed` for a schedule
        that raises."""
        directions = OF_DRIFTS if kind == "drift" else {}
        if offers(component.object, HasDirections):
            directions = component.object.directions
        evaluated = steps_of(timeline) if kind == "drift" else places(timeline)
        changed: dict[str, Any] = {}
        for setting, direction in directions.items():
            number = weight if setting == "weight" else getattr(component.object, setting)
            read = _read(kind, component, setting, number, direction, evaluated)
            if read is not number:
                changed[setting] = read
        weight = changed.pop("weight", weight)
        if changed:
            amended = attrs.evolve(component.object, **changed)
            component = attrs.evolve(component, object=amended, settings=dict(unstructure(amended)))
        return component, weight


def _read(
    kind: str, component: Component, setting: str, number: Any, direction: Direction, evaluated: Sequence[StepInfo]
) -> Any:
    """A number or schedule that has a direction, as it is meant: itself, or its magnitude.

    evaluated: where the run evaluates it.
    """
    label = component.label(kind)
    schedule = number if isinstance(number, Schedule) else Constant(number)
    if (which := sign(schedule, _values(label, schedule, evaluated))) > 0:
        return number
    shown = f" = {schedule.value:g}" if isinstance(schedule, Constant) else ""
    if which == 0 or not direction.repeated:
        what = "changes its sign" if which == 0 else "is negative"
        raise ConfigError(f"{label}: {setting}{shown} {what}, and it {direction.does} — use {direction.instead}")
    hint = f"it {direction.does} without a minus too; the magnitude is used, and recorded"
    log.warning(f"{kind}.negative", name=component.name, setting=setting + shown, hint=hint)
    return magnitude(schedule) if isinstance(number, Schedule) else -number


def _values(label: str, schedule: Schedule, places: Sequence[StepInfo]) -> Iterator[float]:
    for at in places:
        with blamed_on(label, at):  # a function of the user's
            value = schedule(at)
        yield value
