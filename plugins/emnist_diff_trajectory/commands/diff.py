"""``emnist-diff diff``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import typer

from emnist_diff_trajectory.printing import echo


def diff(
    one: Path = typer.Argument(help="A trajectory file."),
    other: Path = typer.Argument(help="Another."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Compare two trajectory files, bit for bit, in what both hold.

    Exit code 0 when settings, samples and values are the same; 1 when they are not, with the first place (sample,
    step, field) and the largest difference of each field.
    """
    from emnist_diff_trajectory.compare import compare
    from emnist_diff_trajectory.reader import Trajectory

    with Trajectory(one) as a, Trajectory(other) as b:
        found = compare(a, b)
    if as_json:
        data = {
            "same": found.same,
            "samples": found.samples,
            "states": found.states,
            "settings": list(found.settings),
            "missing": list(found.missing),
            "notes": list(found.notes),
            **differences(found.differences),
        }
        typer.echo(json.dumps(data))
    else:
        lines = ["the same" if found.same else "not the same"]
        lines[0] += (
            f": {found.samples} samples, {found.states} of them with states, {found.differences.values} values compared"
        )
        lines += [f"  settings differ: {', '.join(found.settings)}"] if found.settings else []
        lines += [f"  {text}" for text in (*found.missing, *found.notes)]
        for line in [*lines, *difference_lines(found.differences)]:
            echo(line)
    if not found.same:
        raise typer.Exit(1)


def difference_lines(seen: Any) -> list[str]:
    """`Differences` for people."""
    if seen.first is None:
        return []
    out = [f"  first differs {_place(seen.first)}"]
    for field, (gap, place) in seen.largest.items():
        out.append(f"  {field}: by up to {gap:.3g}, {_place(place)}")
    return out


def differences(seen: Any) -> dict[str, Any]:
    """`Differences` as JSON-ready data; an infinite difference is null."""
    import attrs

    return {
        "values": seen.values,
        "first": None if seen.first is None else attrs.asdict(seen.first),
        "largest": {
            field: {"by": gap if math.isfinite(gap) else None, "sample": place.sample, "step": place.step}
            for field, (gap, place) in seen.largest.items()
        },
    }


def _place(place: Any) -> str:
    step = "" if place.step is None else f", step {place.step}"
    return f"in sample {place.sample}{step}, {place.field}"
