"""What only a run can know, seconds and memory, as its metrics sink left them beside its trajectory file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emnist_diff.errors import OutputError
from emnist_diff_plugins.metrics.files import FOLDER, STEPS, SUMMARY, VIDEOS
from emnist_diff_plugins.metrics.tables import Table, read_csv

MEASURED = {VIDEOS: ("generation_time_sec", "gpu_mem_peak_mb"), STEPS: ("wall_dt",)}
_KEYS = {VIDEOS: ("vid_id",), STEPS: ("vid_id", "step_index")}


class Times:
    """The times of a run, from the tables in ``metrics`` beside its file, those of all its workers."""

    def __init__(self, file: Path, run: str) -> None:
        """run: `record.Run.name`; rows of other runs are not looked at, nor files that are no such tables."""
        self._found: dict[tuple[str, tuple[int, ...]], tuple[float, ...]] = {}
        for kind, table in _tables(file.parent / FOLDER):
            columns = [np.asarray(table[name]) for name in (*_KEYS[kind], *MEASURED[kind])]
            for of_run, *row in zip(table["run"] == run, *(column.tolist() for column in columns), strict=True):
                if of_run:
                    count = len(_KEYS[kind])
                    self._found[kind, tuple(row[:count])] = tuple(row[count:])

    def fill(self, kind: str, table: Table) -> None:
        """Put what is known into the columns of a table. kind: `files.VIDEOS` or `files.STEPS`."""
        if not self._found:
            return
        nothing = (np.nan,) * len(MEASURED[kind])
        keys = zip(*(np.asarray(table[name]).tolist() for name in _KEYS[kind]), strict=True)
        values = [self._found.get((kind, key), nothing) for key in keys]
        for name, column in zip(MEASURED[kind], zip(*values, strict=True), strict=True):
            table[name] = np.array(column, dtype=np.float64)


def reports(folder: Path) -> list[dict[str, Any]]:
    """What ``inference_metrics.json``, of all workers, said; files that say something else are left out."""
    out = []
    stem, _, suffix = SUMMARY.rpartition(".")
    for path in sorted(folder.glob(f"{stem}*.{suffix}")) if folder.is_dir() else ():
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(data, dict) and isinstance(data.get("config"), dict):
            out.append(data)
    return out


def wall_seconds(found: Iterable[Mapping[str, Any]], config: Mapping[str, Any]) -> float | None:
    """Of the reports of a run's workers, the seconds of the slowest; None where no report of this run knows."""
    totals = [report.get("total_wall_time_sec") for report in found if report["config"] == config]
    return max((float(s) for s in totals if isinstance(s, int | float) and math.isfinite(s)), default=None)


def _tables(folder: Path) -> Iterator[tuple[str, Table]]:
    for kind, names in MEASURED.items():
        stem, _, suffix = kind.rpartition(".")
        for path in sorted(folder.glob(f"{stem}*.{suffix}")) if folder.is_dir() else ():
            try:
                table = read_csv(path)
            except OutputError:
                continue
            if {*names, *_KEYS[kind], "run"} <= table.keys():
                yield kind, table
