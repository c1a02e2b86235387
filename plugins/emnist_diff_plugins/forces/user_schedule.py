"""Class weights from a table over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from emnist_diff.errors import ConfigError
from emnist_diff.shown import shown
from emnist_diff.timeline import StepInfo
from emnist_diff_plugins.curves import By, Table
from emnist_diff_plugins.forces._class_force import ClassForce, Target
from emnist_diff_plugins.functions import as_function, call

Rows = tuple[tuple[float, Mapping[str, float]], ...]


def _schedule(value: object) -> Rows | Callable[..., Mapping[str, float]]:
    """Rows of (position, class → weight) from pairs or from tables ``{"at": 0.5, "weights": {…}}``; a function, or
    the name of one."""
    if callable(value) or isinstance(value, str | Mapping):
        return as_function(value)
    if not isinstance(value, Sequence) or not value:
        raise ConfigError(f"schedule: expected rows [position, {{class: weight}}], got {shown(value)}")
    rows = []
    for row in value:
        if isinstance(row, Mapping):
            remaining = dict(row)
            place = remaining.pop(next((key for key in ("at", "frac", "t") if key in remaining), ""), None)
            weights = remaining.pop("weights", None)
            row = (place, remaining) if weights is None else (place, weights) if not remaining else row
        try:
            where, weights = row
            rows.append((_number(where), {str(name): _number(weight) for name, weight in weights.items()}))
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"schedule: expected a row [position, {{class: weight}}], got {shown(row)}") from error
    return tuple(sorted(rows, key=lambda row: row[0]))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{shown(value)} is no number")
    return float(value)


@attrs.frozen
class UserSchedule(ClassForce):
    """Σ_c w_c F(c) with weights from a table of positions, straight lines between them. A class that a row does not
    name weighs 0 there. Positions are fractions of the run (0 noise, 1 image) or, by ``timestep``, training timesteps.

    In Python, `schedule` may be a function of `StepInfo`, or of (step, steps), that returns class → weight.

    Example: ``--force 'user_schedule:schedule=[[0,{"A":2}],[0.5,{"A":1,"B":1}],[1,{"B":2}]]'``
    """

    schedule: Any = attrs.field(
        converter=_schedule, metadata={"help": "rows [position, {class: weight}], or package.module:function"}
    )
    interpolate: bool = attrs.field(default=True, metadata={"help": "straight lines between rows, or steps"})
    by: By = attrs.field(
        default="fraction",
        validator=attrs.validators.in_(("fraction", "timestep", "sigma")),
        metadata={"help": "what positions mean: fraction, timestep or sigma"},
    )

    def __attrs_post_init__(self) -> None:
        if callable(self.schedule):
            return
        self._tables()  # refuses positions that come twice, and numbers that are not finite
        odd = [where for where, _ in self.schedule if not 0 <= where <= 1]
        if odd and self.by == "fraction":
            raise ConfigError(f"schedule: position {odd[0]:g} is no fraction of the run (0 … 1) — use by = timestep")

    def all_targets(self) -> list[Target]:
        return [] if callable(self.schedule) else list(self._tables())

    def weights(self, at: StepInfo) -> list[tuple[Target, float]]:
        if callable(self.schedule):
            weights = call(self.schedule, at)
            if not isinstance(weights, Mapping):
                raise ConfigError(
                    f"schedule: the function returned {shown(weights)} at step {at.index}, not class → weight"
                )
            return [(str(name), float(weight)) for name, weight in weights.items()]
        return [(name, table(at)) for name, table in self._tables().items()]

    def _tables(self) -> dict[str, Table]:
        names = dict.fromkeys(name for _, weights in self.schedule for name in weights)
        return {
            name: Table(
                [(where, weights.get(name, 0.0)) for where, weights in self.schedule], self.interpolate, self.by
            )
            for name in names
        }
