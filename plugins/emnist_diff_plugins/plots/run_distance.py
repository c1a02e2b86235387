"""How far apart two runs of the same samples are, over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff_plugins.plots import panels
from emnist_diff_plugins.plots.runs import Floats, Run
from emnist_diff_plugins.plots.theme import Theme

_BLOCK = 64


@attrs.frozen
class RunDistance:
    """‖x_B − x_A‖ of samples with the same id, where both runs keep the same steps of as many."""

    def lacks(self, runs: Sequence[Run]) -> str:
        if len(runs) != 2:
            return "two runs"
        if lacking := panels.need(runs, "x"):
            return lacking
        one, other = (run.trajectory for run in runs)
        if one.steps != other.steps or not np.array_equal(one.kept_steps, other.kept_steps):
            return "two runs of the same steps"
        if one.x.shape[2:] != other.x.shape[2:] or not len(_pairs(runs)):
            return "two runs of the same samples"
        return ""

    def size(self, runs: Sequence[Run]) -> tuple[float, float]:
        return 1.0, 0.64

    def draw(self, figure: Any, runs: Sequence[Run], theme: Theme) -> None:
        axis = figure.subplots()
        steps = np.append(runs[0].steps, runs[0].trajectory.steps)
        apart = distances(runs)
        if len(apart) > panels.FEW:
            for ends, alpha, share in (((5, 95), 0.18, "90 %"), ((25, 75), 0.32, "50 %")):
                low, high = np.percentile(apart, ends, axis=0)
                axis.fill_between(steps, low, high, color=theme.cycle[0], alpha=alpha, linewidth=0, label=share)
            axis.plot(steps, np.median(apart, axis=0), color=theme.cycle[0], label=f"median of {len(apart)}")
        else:
            axis.plot(steps, apart.T, color=theme.muted, linewidth=0.7)
            axis.plot(steps, apart.mean(axis=0), color=theme.cycle[0], label=f"mean of {len(apart)}")
        axis.legend(loc="upper left")
        panels.step_axis(axis, runs)
        axis.set_xlim(right=1.02 * runs[0].trajectory.steps)
        axis.set_ylim(bottom=0.0)
        axis.set_xlabel("state before step (the last: the image)")
        axis.set_ylabel("‖difference of x‖₂,\nsamples of the same id")
        axis.set_title("Distance of the two runs")


def _pairs(runs: Sequence[Run]) -> npt.NDArray[np.int64]:
    """(n, 2) rows of the samples that both runs hold."""
    one, other = (run.trajectory.ids[run.positions] for run in runs)
    _, in_one, in_other = np.intersect1d(one, other, return_indices=True)
    rows = [np.searchsorted(run.trajectory.kept_samples, run.positions) for run in runs]
    return np.stack([rows[0][in_one], rows[1][in_other]], axis=1)


def distances(runs: Sequence[Run]) -> Floats:
    """(n, K+1) L2 distances of the samples that both runs hold, at every kept state."""
    pairs = _pairs(runs)
    one, other = (run.trajectory.x for run in runs)
    out = np.empty((len(pairs), one.shape[1]))
    for first in range(0, len(pairs), _BLOCK):
        some = pairs[first : first + _BLOCK]
        difference = np.stack([other[b].astype(np.float32) - one[a].astype(np.float32) for a, b in some.tolist()])
        flat = difference.reshape(*difference.shape[:2], -1)
        out[first : first + len(some)] = np.sqrt(np.einsum("nkd,nkd->nk", flat, flat, dtype=np.float64))
    return out
