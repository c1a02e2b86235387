"""From measurements to settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from emnist_diff_plugins.benching.cells import NOMINAL, Measured

NEAR = 0.05
"""Differences below this share are noise, and decide nothing."""


@attrs.frozen
class Recommendation:
    """What to run with here, for runs of many samples.

    best: the measurement behind it.  settings: what differs from the defaults, by name; None for what should be left
    to them.  exact: whether samples are those of float32.
    """

    best: Measured
    settings: dict[str, Any]
    exact: bool


def recommend(
    measured: Iterable[Measured], auto: Mapping[str, str], threads: int, *, reduced: bool = False
) -> Recommendation | None:
    """The settings that make most rows a second, or None where nothing was measured that could.

    auto: the backend that ``auto`` takes for a long run, by precision.  threads: the default number.
    reduced: whether precisions below fp32 are allowed.

    Of settings that are as fast, to `NEAR`: float32, then the backend that ``auto`` takes, then fewer threads.
    """
    cells = [m for m in measured if m.cell.at_once >= NOMINAL and (reduced or m.cell.precision == "fp32")]
    if not cells:
        return None
    most = max(m.rows_per_second for m in cells)
    near = [m for m in cells if m.rows_per_second >= (1 - NEAR) * most]
    near = [m for m in near if m.cell.precision == "fp32"] or near
    near = [m for m in near if m.cell.backend == auto.get(m.cell.precision)] or near
    fewest = min(m.cell.threads for m in near)
    best = max((m for m in near if m.cell.threads == fewest), key=lambda m: m.rows_per_second)
    cell = best.cell
    settings = {
        "backend": None if cell.backend == auto.get(cell.precision) else cell.backend,
        "precision": None if cell.precision == "fp32" else cell.precision,
        "threads": None if cell.threads == threads else cell.threads,
    }
    return Recommendation(best, settings, cell.precision == "fp32")
