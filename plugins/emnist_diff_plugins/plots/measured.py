"""What the metrics sink measured of samples while a run was made."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_COLUMNS = {"seconds": "generation_time_sec", "gpu_mb": "gpu_mem_peak_mb"}


def measured(folder: Path, ids: npt.NDArray[np.int64], run: str) -> dict[str, Floats]:
    """Columns of ``video_metrics*.csv``, workers' shards included, by sample id; what cannot be read is not known.

    run: rows that say that they are of another, left from before this file was made anew, are passed over.
    """
    places = {int(number): place for place, number in enumerate(ids.tolist())}
    out = {name: np.full(len(ids), np.nan) for name in _COLUMNS}
    for path in sorted(folder.glob("video_metrics*.csv")) if folder.is_dir() else ():
        try:
            with path.open(newline="", encoding="utf-8-sig") as lines:
                for row in csv.DictReader(lines):
                    place = places.get(_number(row.get("vid_id"), int, -1))
                    for name, column in _COLUMNS.items():
                        if place is not None and row.get("run", run) == run:
                            out[name][place] = _number(row.get(column), float, math.nan)
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return {name: values for name, values in out.items() if np.isfinite(values).any()}


def _number(text: Any, kind: Any, otherwise: Any) -> Any:
    try:
        return kind(text)
    except (TypeError, ValueError):
        return otherwise
