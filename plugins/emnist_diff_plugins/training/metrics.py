"""What each epoch measured, as rows of a table that is kept in CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emnist_diff.files import write_bytes


def epoch_row(
    *,
    epoch: int,
    losses: np.ndarray,
    grad_norms: np.ndarray,
    lr: float,
    seconds: float,
    images: int,
    ema_distance: float,
    gpu_memory: tuple[float, float, float],
    wall_clock: float,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """One epoch's row.

    losses, grad_norms: one a step; a norm that is not finite, where a loss scale overflowed and the step was skipped,
    does not count, and grad_norm is None when none counts.  lr: at the last step.  seconds: of this epoch, stops left
    out.
    gpu_memory: allocated, reserved and peak, in MB.  wall_clock: Unix time.  before: the row of the epoch before.
    """
    seconds = max(seconds, 1e-9)  # a coarse clock may say 0
    norms = grad_norms[np.isfinite(grad_norms)]
    return {
        "epoch": epoch,
        "loss_mean": float(losses.mean()),
        "loss_std": float(losses.std()),
        "loss_min": float(losses.min()),
        "loss_max": float(losses.max()),
        "loss_median": float(np.median(losses)),
        "lr": lr,
        "grad_norm": float(norms.mean()) if len(norms) else None,
        "epoch_time_sec": seconds,
        "samples_per_sec": images / seconds,
        "batches_per_sec": len(losses) / seconds,
        "num_batches": len(losses),
        "num_samples": images,
        "gpu_mem_allocated_mb": gpu_memory[0],
        "gpu_mem_reserved_mb": gpu_memory[1],
        "gpu_mem_peak_mb": gpu_memory[2],
        "ema_delta_norm": ema_distance,
        "wall_clock_sec": wall_clock,
        "cumulative_time_sec": seconds + (before["cumulative_time_sec"] if before else 0.0),
        "cumulative_samples": images + (before["cumulative_samples"] if before else 0),
    }


def write(folder: Path, family: str, rows: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]]) -> None:
    """``metrics_FAMILY.csv`` and ``.json`` with a row an epoch, ``x0_error_FAMILY.csv`` with a row an epoch and noise
    level; each replaced as a whole."""
    write_bytes(folder / f"metrics_{family}.csv", _csv(rows))
    write_bytes(folder / f"x0_error_{family}.csv", _csv(errors))
    data = {"family": family, "epochs": list(rows), "x0_error": list(errors)}
    write_bytes(folder / f"metrics_{family}.json", json.dumps(data, indent=1, allow_nan=False).encode())


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return text.getvalue().encode()
