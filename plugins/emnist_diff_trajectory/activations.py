"""Activations of a step as a file holds them: along all conditions of the run, in one order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from emnist_diff.errors import unknown

if TYPE_CHECKING:  # reading needs no torch
    from torch import Tensor

    from emnist_diff.conditions import Cond


def recorded_conditions(
    conditions: Sequence[Sequence[Cond]], steps: Iterable[int], only: Collection[str] = ()
) -> tuple[Cond, ...]:
    """The conditions along the axis of a file that keeps these steps, in order of use.  conditions: of each step.
    only: names of those that it keeps; empty for all. Raises `UnknownName`."""
    used = tuple(dict.fromkeys(cond for step in steps for cond in conditions[step]))
    names = condition_names(used)
    if strange := sorted(set(only).difference(names)):
        raise unknown("condition of this run", strange[0], names)
    return tuple(cond for cond, name in zip(used, names, strict=True) if not only or name in only)


def condition_names(conditions: Sequence[Cond]) -> list[str]:
    """What a file calls conditions: as messages do, and with a number where two are called the same."""
    names = list(map(str, conditions))
    return [f"{n} #{names[: i + 1].count(n)}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def by_condition(values: Tensor, conditions: Sequence[Cond], recorded: Sequence[Cond]) -> Tensor:
    """Activations (B, conditions, *shape) of a step along the recorded conditions, (B, recorded, *shape): zero for
    those that the step does not evaluate. Conditions that are not recorded are left out."""
    if tuple(conditions) == tuple(recorded):
        return values
    out = values.new_zeros((len(values), len(recorded), *values.shape[2:]))
    kept = [place for place, cond in enumerate(conditions) if cond in recorded]
    out[:, [recorded.index(conditions[place]) for place in kept]] = values[:, kept]
    return out
