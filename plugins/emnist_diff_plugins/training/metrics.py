"""What each epoch measured, as rows of a table that is kept in CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from emnist_diff_trajectory.files import write_bytes


@attrs.frozen(eq=False, kw_only=True)
class Epoch:
    """What one epoch measured.

    losses, grad_norms: one a step; a norm that is not finite, where a loss scale overflowed and the step was skipped,
    does not count.  lr: at the last step.  held_out_loss: of the averaged weights.  seconds: of this epoch, stops left
    out.  images: that the steps took.  gpu_memory: allocated, reserved and peak, in MB.  wall_clock: Unix time.
    """

    epoch: int
    losses: np.ndarray
    grad_norms: np.ndarray
    lr: float
    seconds: float
    images: int
    ema_distance: float
    held_out_loss: float
    gpu_memory: tuple[float, float, float]
    wall_clock: float

    def row(self, before: Mapping[str, Any] | None) -> dict[str, Any]:
        """Its row of the table; grad_norm is None when no norm counts.  before: the row of the epoch before."""
        seconds = max(self.seconds, 1e-9)  # a coarse clock may say 0
        norms = self.grad_norms[np.isfinite(self.grad_norms)]
        return {
            "epoch": self.epoch,
            "loss_mean": float(self.losses.mean()),
            "loss_std": float(self.losses.std()),
            "loss_min": float(self.losses.min()),
            "loss_max": float(self.losses.max()),
            "loss_median": float(np.median(self.losses)),
            "held_out_loss": self.held_out_loss,
            "lr": self.lr,
            "grad_norm": float(norms.mean()) if len(norms) else None,
            "epoch_time_sec": seconds,
            "samples_per_sec": self.images / seconds,
            "batches_per_sec": len(self.losses) / seconds,
            "num_batches": len(self.losses),
            "num_samples": self.images,
            "gpu_mem_allocated_mb": self.gpu_memory[0],
            "gpu_mem_reserved_mb": self.gpu_memory[1],
            "gpu_mem_peak_mb": self.gpu_memory[2],
            "ema_delta_norm": self.ema_distance,
            "wall_clock_sec": self.wall_clock,
            "cumulative_time_sec": seconds + (before["cumulative_time_sec"] if before else 0.0),
            "cumulative_samples": self.images + (before["cumulative_samples"] if before else 0),
        }


def write_table(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """``NAME.csv``, replaced as a whole."""
    write_bytes(folder / f"{name}.csv", _csv(rows))


def write(
    folder: Path, family: str, table: str, rows: Sequence[Mapping[str, Any]], errors: Sequence[Mapping[str, Any]]
) -> None:
    """``metrics_FAMILY.csv`` and ``.json`` with a row an epoch, ``TABLE_FAMILY.csv`` with the rows of figures of each
    epoch; each replaced as a whole."""
    write_table(folder, f"metrics_{family}", rows)
    write_table(folder, f"{table}_{family}", errors)
    data = {"family": family, "epochs": list(rows), table: list(errors)}
    write_bytes(folder / f"metrics_{family}.json", json.dumps(data, indent=1, allow_nan=False).encode())


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    if rows:
        table = csv.DictWriter(text, fieldnames=list(rows[-1]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return text.getvalue().encode()
