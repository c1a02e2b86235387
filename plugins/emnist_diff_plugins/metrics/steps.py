"""The metrics of a step: what a state changed by, and what moved it. docs/metrics.md has the formulas."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from emnist_diff_plugins.metrics import live
from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import (
    Array,
    cosine,
    displacement_per_prediction,
    dot,
    level_rates,
    norm,
    ratio,
    statistics,
)
from emnist_diff_plugins.metrics.live import OF_ATTENTION, OF_STATES

DOCUMENTED = (
    *("timestep", "wall_dt", "delta_x_l2", "delta_x_mean", "delta_x_std", "delta_x_min", "delta_x_max"),
    *("delta_pixel_l2", "alpha_t", "beta_t", "alpha_cumprod_t"),
)
"""The columns of the reference documents, after ``vid_id`` and ``step_index``."""
BEYOND = (
    *("step_end", "snr", "x_l2", "delta_x_cos", "x0_l2", "x0_change_l2", "noise_l2", "prediction_l2", "base_l2"),
    *("base_share", "drift_l2", *OF_STATES, *OF_ATTENTION),
)
OF_A_FORCE = ("l2", "cos_base", "share", "displacement_l2", "displacement_share", "pull")
FIELDS_OF = {
    "x": ("delta_x_l2", "delta_x_mean", "delta_x_std", "delta_x_min", "delta_x_max", "delta_pixel_l2", "x_l2",
          "delta_x_cos", "latent_l2_norm", "cosine_similarity_to_previous"),
    "x0": ("x0_l2", "x0_change_l2"),
    "x and x0": ("noise_l2",),
    "x and prediction": ("predicted_noise_l2_norm",),
    "prediction": ("prediction_l2",),
    "base": ("base_l2",),
    "prediction and base": ("base_share",),
}  # fmt: skip
"""Which field a column is made from; the message about empty columns says it."""


def names(forces: Iterable[str], drifts: Iterable[str]) -> tuple[str, ...]:
    """The names of all metrics of a step, in the order of the file.

    forces, drifts: names of their groups in the trajectory file.
    """
    return (
        *DOCUMENTED,
        *BEYOND,
        *(f"force_{force}_{what}" for force in forces for what in OF_A_FORCE),
        *(f"drift_{drift}_l2" for drift in drifts),
    )


def step_metrics(block: Block, wall_dt: Array | None = None) -> dict[str, Array]:
    """Every metric of `names`, (B, K) each; NaN where it has no value or its field was not recorded.

    wall_dt: (K,) seconds from the beginning of the batch to the end of each step, which only a run knows.
    """
    out = dict.fromkeys(names(block.forces, block.drifts), np.full(block.shape, np.nan))
    displacement = None if block.x is None else np.diff(block.x, axis=1)  # by each step, drifts included
    for found in (_schedule(block), _state(block, displacement), _estimate(block), _score(block), _drifts(block)):
        out.update(found)
    rows = [row.numbers for row in live.rows(block)]
    out.update({name: np.stack([row[name] for row in rows], 1) for name in (*OF_STATES, *OF_ATTENTION)})
    for name, force in block.forces.items():
        if force is not None:
            out.update({f"force_{name}_{what}": values for what, values in _force(block, force, displacement).items()})
    if wall_dt is not None:
        out["wall_dt"] = np.broadcast_to(wall_dt, block.shape)
    return out


def _schedule(block: Block) -> dict[str, Array]:
    levels = block.levels
    alpha = ratio(levels.alpha_bar, levels.alpha_bar_next)
    rows = {
        "timestep": levels.timestep,
        "alpha_t": alpha,
        "beta_t": 1.0 - alpha,
        "alpha_cumprod_t": levels.alpha_bar,
        "step_end": levels.end.astype(np.float64),
        "snr": ratio(levels.alpha_bar, 1.0 - levels.alpha_bar),
    }
    return {name: np.broadcast_to(values, block.shape) for name, values in rows.items()}


def _state(block: Block, displacement: Array | None) -> dict[str, Array]:
    if block.x is None or displacement is None:
        return {}
    out = {"delta_x_l2": norm(displacement), "x_l2": norm(block.x[:, :-1]), "delta_x_cos": np.full(block.shape, np.nan)}
    out |= {f"delta_x_{name}": values for name, values in statistics(displacement).items()}
    out["delta_x_cos"][:, 1:] = cosine(displacement[:, :-1], displacement[:, 1:])
    if block.pixels is not None:
        out["delta_pixel_l2"] = norm(np.diff(block.pixels.astype(np.float64), axis=1))
    return out


def _estimate(block: Block) -> dict[str, Array]:
    if block.x0 is None:
        return {}
    out = {"x0_l2": norm(block.x0), "x0_change_l2": np.full(block.shape, np.nan)}
    out["x0_change_l2"][:, 1:] = norm(np.diff(block.x0, axis=1))
    if block.x is not None:
        signal, noise = level_rates(block.levels.alpha_bar, block.levels.process)
        out["noise_l2"] = ratio(norm(block.x[:, :-1] - signal[:, None] * block.x0), np.broadcast_to(noise, block.shape))
    return out


def _score(block: Block) -> dict[str, Array]:
    out = {}
    if block.prediction is not None:
        out["prediction_l2"] = norm(block.prediction)
    if block.base is not None:
        out["base_l2"] = norm(block.base)
    if block.prediction is not None and block.base is not None:
        out["base_share"] = ratio(dot(block.base, block.prediction), dot(block.prediction, block.prediction))
    return out


def _force(block: Block, force: Array, displacement: Array | None) -> dict[str, Array]:
    """Of one force, whose contribution is (B, K, D), as is what the steps changed."""
    out = {"l2": norm(force)}
    if block.base is not None:
        out["cos_base"] = cosine(force, block.base)
    if block.prediction is not None:
        out["share"] = ratio(dot(force, block.prediction), dot(block.prediction, block.prediction))
    if block.kind is None:
        return out
    levels = block.levels
    factor = displacement_per_prediction(levels.alpha_bar, levels.alpha_bar_next, levels.process, block.kind)
    factor = np.where(levels.end == levels.step + 1, factor, np.nan)  # of several steps together nothing is known
    out["displacement_l2"] = np.abs(factor) * out["l2"]
    if displacement is not None:
        along = dot(force, displacement)
        out["displacement_share"] = ratio(factor * along, dot(displacement, displacement))
        out["pull"] = ratio(np.sign(factor) * along, out["l2"])
    return out


def _drifts(block: Block) -> dict[str, Array]:
    recorded = {name: drift for name, drift in block.drifts.items() if drift is not None}
    out = {f"drift_{name}_l2": norm(drift) for name, drift in recorded.items()}
    if len(recorded) == len(block.drifts):
        total = sum(recorded.values(), np.zeros((*block.shape, 1)))
        out["drift_l2"] = norm(total)
    return out
