"""Metrics over groups of samples, and the summary of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emnist_diff_plugins.metrics.tables import TEXT, Table, length, plain, stacked

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
_KEYS = ("vid_id", "step_index", "seed", "label")


def describe(values: np.ndarray) -> dict[str, float | None]:
    """Count, mean, population standard deviation, extremes and quantiles of what is finite; None where nothing is."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return {"count": 0, **dict.fromkeys(("mean", "std", "min", "max", *QUANTILES))}
    cuts = np.quantile(finite, list(QUANTILES.values()))
    return {
        "count": len(finite),
        "mean": float(finite.mean()),
        "std": float(finite.std()),
        "min": float(finite.min()),
        "max": float(finite.max()),
        **dict(zip(QUANTILES, cuts.tolist(), strict=True)),
    }


def grouped(table: Table, by: str) -> dict[str, dict[str, Any]]:
    """`describe` of every metric, for each value of the column `by`: {value: {metric: {…}}}."""
    keys = np.asarray(table[by], dtype=object) if by in TEXT else np.asarray(table[by])
    out: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys(keys.tolist()):
        chosen = keys == key
        out[str(key)] = {
            name: describe(np.asarray(values)[chosen])
            for name, values in table.items()
            if name not in _KEYS and name not in TEXT
        }
    return out


def by_step(table: Table, groups: Sequence[str]) -> Table:
    """Of every metric of a step, its mean, deviation and quantiles over the samples of a group: one row for each
    group, step and metric that has values.

    groups: (rows,) the group of each row of the table.
    """
    names = np.array([name for name in table if name not in _KEYS and name not in TEXT], dtype=object)
    keys, numbers = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    steps = np.asarray(table["step_index"])
    order = np.lexsort((steps, numbers))
    numbers, steps = numbers[order], steps[order]
    values = np.column_stack([np.asarray(table[name], dtype=np.float64) for name in names])[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1) | np.diff(steps, prepend=-1))
    parts: list[Table] = []
    for first, rows in zip(starts.tolist(), np.split(values, starts[1:]), strict=True):
        whole = np.isfinite(rows).all(0)
        partly = [number for number in np.flatnonzero(~whole) if np.isfinite(rows[:, number]).any()]
        chosen = rows[:, whole]
        found: Table = {
            "count": np.full(chosen.shape[1], len(rows)),
            "mean": chosen.mean(0),
            "std": chosen.std(0),
            "min": chosen.min(0),
            "max": chosen.max(0),
            **dict(zip(QUANTILES, np.quantile(chosen, list(QUANTILES.values()), axis=0), strict=True)),
        }
        singly = [describe(rows[:, number]) for number in partly]
        found = {name: np.append(column, [one[name] for one in singly]) for name, column in found.items()}
        metrics = names[np.append(np.flatnonzero(whole), partly).astype(int)]
        group = np.full(len(metrics), keys[numbers[first]], dtype=object)
        parts.append({"group": group, "step_index": np.full(len(metrics), steps[first]), "metric": metrics} | found)
    return stacked(parts)


def report(config: Mapping[str, Any], videos: Table, wall_seconds: float | None) -> dict[str, Any]:
    """The content of ``inference_metrics.json``: plain data whose numbers are finite or None.

    config: of the run.  videos: the table of samples.  wall_seconds: of the whole run, where it is known.
    """
    columns = {name: plain(name, values) for name, values in videos.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    times, peak = (_column(videos, name) for name in ("generation_time_sec", "gpu_mem_peak_mb"))
    return {
        "character": list(dict.fromkeys(columns.get("character", ()))),
        "config": dict(config),
        "total_videos": length(videos),
        "total_wall_time_sec": wall_seconds,
        "summary": {
            "num_videos": length(videos),
            "total_wall_sec": wall_seconds,
            "avg_gen_time_sec": describe(times)["mean"],
            "min_gen_time_sec": describe(times)["min"],
            "max_gen_time_sec": describe(times)["max"],
            "avg_total_latent_l2": describe(_column(videos, "total_latent_l2"))["mean"],
            "gpu_peak_mb": describe(peak)["max"],
        },
        "groups": {name: grouped(videos, name) for name in ("character", "stack", "run") if length(videos)},
        "videos": rows,
    }


def _column(table: Table, name: str) -> np.ndarray:
    return np.asarray(table.get(name, np.empty(0)), dtype=np.float64)
