"""Pictures of a diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np

from emnist_diff_plugins.analysis.diagnosis import Diagnosis
from emnist_diff_plugins.figures import bare, new_figure, png_of

_SHOWN = 10


def overview(diagnosis: Diagnosis) -> bytes:
    """A PNG: x0 errors and guidance by noise level, gradients by part, cosines of the classes' embeddings."""
    figure = new_figure(10.0, 7.0)
    panels = figure.subplots(2, 2)
    noise = [level.noise for level in diagnosis.levels]
    for name in ("right", "null", "wrong"):
        panels[0][0].plot(noise, [getattr(level, name) for level in diagnosis.levels], marker="o", label=name)
    _titled(panels[0][0], "x0 error by class shown", "noise power")
    panels[0][0].legend(fontsize=7)
    panels[0][1].plot(noise, [level.guidance for level in diagnosis.levels], marker="o", color="black")
    _titled(panels[0][1], "‖e_c − e_null‖ / ‖e_null‖", "noise power")
    gradients = diagnosis.gradients or {}
    if gradients:
        panels[1][0].barh(list(gradients)[::-1], list(gradients.values())[::-1])
        panels[1][0].tick_params(axis="y", labelsize=6)
    _titled(panels[1][0], "gradient norm by part" if gradients else "no module to differentiate", "")
    if diagnosis.embedding is not None:
        panels[1][1].imshow(diagnosis.embedding.cosines, vmin=-1, vmax=1, cmap="RdBu")
    _titled(panels[1][1], "cosines of embeddings" if diagnosis.embedding else "no table of classes", "")
    return png_of(figure)


def _titled(axis: Any, title: str, label: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(label, fontsize=8)


def samples(diagnosis: Diagnosis) -> bytes:
    """A PNG: a row of samples for each method of sampling."""
    figure = new_figure(8.0, 1.1 * len(diagnosis.sampled))
    axes = figure.subplots(len(diagnosis.sampled), 1, squeeze=False)
    for (axis,), part in zip(axes, diagnosis.sampled, strict=True):
        joined = np.concatenate(list(part.images[:: max(1, len(part.images) // _SHOWN)][:_SHOWN]), axis=2)
        bare(axis, np.moveaxis(joined, 0, -1) if len(joined) == 3 else joined[0], cmap="gray", vmin=0, vmax=255)
        axis.set_title(part.method, loc="left", fontsize=8)
    return png_of(figure)
