"""Which samples and steps of a run are drawn where its attention is."""

from __future__ import annotations

import numpy as np

from emnist_diff.errors import UnknownName
from emnist_diff_plugins.plots.attended import Attended
from emnist_diff_plugins.plots.runs import Run


def attended(run: Run) -> Attended:
    """That of a run which lacks no attention."""
    assert isinstance(run.attended, Attended)
    return run.attended


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


def moments(run: Run, condition: str, most: int) -> list[int]:
    """At most so many of the steps whose attention is kept, evenly spread from the first to the last."""
    steps = attended(run).evaluated(condition).tolist()
    places = np.unique(np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int))
    return [steps[place] for place in places.tolist()]
