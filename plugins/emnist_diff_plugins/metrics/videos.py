"""The metrics of a sample, summed and measured over its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import Array, norm, ratio, statistics

DOCUMENTED = (
    *("generation_time_sec", "total_steps", "captured_frames", "final_mean", "final_std", "final_min", "final_max"),
    *("total_latent_l2", "total_pixel_l2", "gpu_mem_peak_mb"),
)
"""The columns of the reference documents, after ``vid_id``, ``seed``, ``label`` and ``character``."""
BEYOND = ("net_latent_l2", "straightness", "mean_delta_x_cos", "total_x0_change_l2", "total_drift_l2")
_TOTALS = {"total_latent_l2": "delta_x_l2", "total_pixel_l2": "delta_pixel_l2", "total_drift_l2": "drift_l2"}


def names(forces: Iterable[str]) -> tuple[str, ...]:
    """The names of all metrics of a sample, in the order of the file."""
    return (*DOCUMENTED, *BEYOND, *(f"total_force_{force}_displacement_l2" for force in forces))


def video_metrics(
    block: Block, steps: Mapping[str, Array], seconds: float | None = None, gpu_mem_peak_mb: float | None = None
) -> dict[str, Array]:
    """Every metric of `names`, (B,) each; NaN where it has no value.

    steps: what `steps.step_metrics` gives of the block.  seconds: a sample's share of the time of its batch.
    """
    count, kept = block.shape
    out = dict.fromkeys(names(block.forces), np.full(count, np.nan))
    out["total_steps"] = np.full(count, float(block.levels.total))
    out["captured_frames"] = np.full(count, float(kept))
    final = block.image.reshape(count, -1).astype(np.float64)
    out |= {f"final_{name}": values for name, values in statistics(final).items()}
    for name, column in _TOTALS.items():
        out[name] = steps[column].sum(-1)
    for force in block.forces:
        out[f"total_force_{force}_displacement_l2"] = steps[f"force_{force}_displacement_l2"].sum(-1)
    later = steps["x0_change_l2"][:, 1:]  # the first estimate has none before it
    if kept > 1:
        out["total_x0_change_l2"] = later.sum(-1)
        out["mean_delta_x_cos"] = _mean(steps["delta_x_cos"])
    if block.x is not None:
        out["net_latent_l2"] = norm(block.x[:, -1] - block.x[:, 0])
        out["straightness"] = ratio(out["net_latent_l2"], out["total_latent_l2"])
    if seconds is not None:
        out["generation_time_sec"] = np.full(count, seconds)
    if gpu_mem_peak_mb is not None:
        out["gpu_mem_peak_mb"] = np.full(count, gpu_mem_peak_mb)
    return out


def _mean(values: Array) -> Array:
    """Over the last axis, of what has a value."""
    finite = np.isfinite(values)
    return ratio(np.where(finite, values, 0.0).sum(-1), finite.sum(-1).astype(np.float64))
