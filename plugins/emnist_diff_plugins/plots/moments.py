"""Which samples and steps of a run are drawn where its attention is."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from attrs import validators as v

from emnist_diff.errors import UnknownName
from emnist_diff_plugins.plots.attended import Attended
from emnist_diff_plugins.plots.runs import Run


def head_setting() -> Any:
    """The setting ``head`` of a plot."""
    help = "the attention of this head of each layer, from 0; the mean of the heads otherwise"
    return attrs.field(default=None, validator=v.optional(v.ge(0)), metadata={"help": help})


def steps_setting(help: str = "steps by number; evenly spread ones otherwise") -> Any:
    """The setting ``steps`` of a plot."""
    return attrs.field(default=(), metadata={"help": help})


def attended(run: Run, head: int | None = None) -> Attended:
    """That of a run which lacks no attention; of a head of each layer alone, where one is chosen."""
    assert isinstance(run.attended, Attended)
    return attrs.evolve(run.attended, head=head)


def as_chosen(condition: str | None, head: int | None) -> str:
    """What the name of an axis says of the condition and the head that are chosen; "" of the usual ones."""
    text = "" if condition == "" else f", evaluated for {condition or 'null'}"
    return text + ("" if head is None else f", head {head}")


def positions(run: Run, ids: tuple[int, ...], most: int) -> list[int]:
    """Positions of the samples with these ids; the first `most` whose attention is kept when left out.

    Raises `UnknownName` for one whose attention is not kept.
    """
    kept = [place for place in run.committed.tolist() if attended(run).holds(place)]
    if not ids:
        return kept[:most]
    by_id = {int(run.trajectory.ids[place]): place for place in kept}
    if strange := [number for number in ids if number not in by_id]:
        raise UnknownName(f"no attention of sample {strange[0]} is kept — of {', '.join(map(str, list(by_id)[:9]))}")
    return [by_id[number] for number in ids]


def moments(run: Run, condition: str, most: int, chosen: tuple[int, ...] = ()) -> list[int]:
    """At most so many of the steps whose attention is kept, evenly spread from the first to the last; those that are
    chosen where some are. Raises `UnknownName` for one whose attention is not kept."""
    steps = attended(run).evaluated(condition).tolist()
    if strange := [step for step in chosen if step not in steps]:
        kept = ", ".join(map(str, steps[:9])) + (", …" if len(steps) > 9 else "")
        raise UnknownName(f"no attention of step {strange[0]} is kept — of {kept}")
    if chosen:
        return list(chosen)
    places = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return [steps[place] for place in places.tolist()]
