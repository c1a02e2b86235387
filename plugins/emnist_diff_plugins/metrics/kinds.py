"""What a network predicted, where the file does not say: the kind that gives the recorded image estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emnist_diff_plugins.metrics.block import Block
from emnist_diff_plugins.metrics.formulas import x0_per_prediction

_KINDS = {"diffusion": ("epsilon", "v_prediction", "sample"), "flow": ("flow", "epsilon", "sample")}
_WITHIN = 1e-2
"""Relative difference up to which an estimate counts as the recorded one; half precision takes some of it."""


def prediction_kind(config: Mapping[str, Any], block: Block) -> str | None:
    """``epsilon``, ``v_prediction``, ``sample`` or ``flow``, from the run's configuration, or else from the states.

    None where neither tells, because fields were not recorded or a scheduler's estimate is not the prediction's.
    """
    denoiser = config.get("denoiser")
    settings = denoiser.get("settings") if isinstance(denoiser, Mapping) else None
    said = settings.get("prediction") if isinstance(settings, Mapping) else None
    kinds = _KINDS[block.levels.path]
    if said in kinds:
        return str(said)
    if block.x is None or block.x0 is None or block.prediction is None:
        return None
    off = {kind: _difference(block, kind) for kind in kinds}
    best = min(off, key=lambda kind: off[kind])
    return best if off[best] < _WITHIN else None


def _difference(block: Block, kind: str) -> float:
    """How far the estimates of this kind are from the recorded ones, relative; of levels with some signal."""
    levels = block.levels
    a, b = x0_per_prediction(levels.alpha_bar, levels.path, kind)
    there = (levels.alpha_bar > 1e-2) & np.isfinite(a) & np.isfinite(b)
    if not there.any():
        return np.inf
    assert block.x is not None
    assert block.x0 is not None
    assert block.prediction is not None
    held = block.x0[:, there]
    mine = a[there, None] * block.x[:, :-1][:, there] + b[there, None] * block.prediction[:, there]
    mine = np.clip(mine, held.min(), held.max())  # where the scheduler clips, what lies outside is no evidence
    return float(np.abs(mine - held).mean() / max(np.abs(held).mean(), 1e-12))
