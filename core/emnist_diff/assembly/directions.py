"""Components whose name says a direction, and what a negative number means to them.

A force named *repel* repels. Where a minus says once more what the name says already, the number is read as its
magnitude, which is reported, and recorded; where it says the opposite, it is refused, and so is a schedule that changes
its sign, with the name of the force that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from emnist_diff.assembly.signs import magnitude, sign
from emnist_diff.components import Component
from emnist_diff.directions import Direction, Directions
from emnist_diff.engine.checks import blamed_on
from emnist_diff.errors import ConfigError
from emnist_diff.events import get_logger
from emnist_diff.protocols import HasDirections, offers
from emnist_diff.schedules import Constant, Schedule
from emnist_diff.structuring import unstructure
from emnist_diff.timeline import StepInfo

log = get_logger()


OF_DRIFTS: Directions = {"weight": Direction("goes a share of its way", "a weight of at least 0")}
"""Of every drift that says nothing else: the opposite of its way would undo what it is for."""


def directed(kind: str, made: Component, weight: Schedule, places: Sequence[StepInfo]) -> tuple[Component, Schedule]:
    """A force or drift and its weight, with negative numbers read as they are meant.

    kind: force or drift.  places: where the run evaluates it.

    Raises `ConfigError` for a number that contradicts the direction, `RunFailed` for a schedule that raises.
    """
    label, changed = made.label(kind), {}
    of_kind = OF_DRIFTS if kind == "drift" else {}
    directions = made.object.directions if offers(made.object, HasDirections) else of_kind
    for setting, direction in directions.items():
        number = weight if setting == "weight" else getattr(made.object, setting)
        schedule = number if isinstance(number, Schedule) else Constant(number)
        if (which := sign(schedule, _values(label, schedule, places))) > 0:
            continue
        shown = f" = {schedule.value:g}" if isinstance(schedule, Constant) else ""
        if which == 0 or not direction.repeated:
            what = "changes its sign" if which == 0 else "is negative"
            raise ConfigError(f"{label}: {setting}{shown} {what}, and it {direction.does} — use {direction.instead}")
        read = magnitude(schedule)
        changed[setting] = read if isinstance(number, Schedule) else -number
        hint = f"it {direction.does} without a minus too; the magnitude is used, and recorded"
        log.warning(f"{kind}.negative", name=made.name, setting=setting + shown, hint=hint)
    weight = changed.pop("weight", weight)
    if changed:
        component = attrs.evolve(made.object, **changed)
        made = attrs.evolve(made, object=component, settings=dict(unstructure(component)))
    return made, weight


def _values(label: str, schedule: Schedule, places: Sequence[StepInfo]) -> Iterator[float]:
    for at in places:
        with blamed_on(label, at):  # a function of the user's
            value = schedule(at)
        yield value
