"""Attention over pictures: enlarged to their size, and drawn on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from emnist_diff_plugins.plots.attended import Attended, Attention, Maps, Piece
from emnist_diff_plugins.plots.runs import Run
from emnist_diff_plugins.plots.theme import Theme
from emnist_diff_trajectory.opening import reading
from emnist_diff_trajectory.pixels import Pixels

COLOURS = "inferno"


def heat(
    attended: Attended,
    layers: Sequence[Attention],
    position: int,
    condition: str,
    steps: Sequence[int],
    some: Sequence[Piece],
    size: tuple[int, int],
) -> Maps:
    """(pieces, *size) how much the places of a sample attend to each piece, as DAAM draws it (arXiv:2210.04885): maps
    of cross attention, enlarged bicubically to the picture, the mean over layers, these steps and heads (DAAM adds
    them up, which is the same but for a factor), of a word that over its tokens. Shares of attention; what bicubic
    curves take below zero is zero."""
    total = torch.zeros(len(some), *size)
    for layer in layers:
        maps = attended.read(layer.path, position, condition, steps).mean((0, 1))  # enlarging is linear
        joined = np.stack([maps[list(piece.places)].mean(0) for piece in some])
        total += F.interpolate(torch.from_numpy(joined)[None], size=size, mode="bicubic", align_corners=False)[0]
    shares: Maps = (total / len(layers)).clamp_(min=0).numpy()
    return shares


def density(maps: Maps) -> Maps:
    """Attention (…, rows, columns) to places, whose sum is one, as multiples of what each got if all got alike."""
    out: Maps = maps * np.float32(maps.shape[-1] * maps.shape[-2])
    return out


def enlarged(maps: Maps, size: tuple[int, int]) -> Maps:
    """Maps (n, rows, columns) at the size of a picture: each cell as it is, without blending."""
    return F.interpolate(torch.from_numpy(np.ascontiguousarray(maps))[None], size=size, mode="nearest-exact")[0].numpy()


def frames(run: Run, position: int, steps: Sequence[int]) -> Pixels:
    """What a sample looked like where steps began, as `Run.pictures`; the finished image where that cannot be shown."""
    if not run.picture_need:
        return run.pictures(position, steps)
    with reading(run.trajectory.path):
        image = np.asarray(run.trajectory.images[position])
    return np.repeat(image[None], len(steps), axis=0)


def below(run: Run) -> str:
    """What maps are drawn over, for the name of an axis."""
    return "drawn over the state before it" if not run.picture_need else "drawn over the finished image"


def blended(frame: Pixels, heat: Maps, lowest: float, highest: float) -> Any:
    """(H, W, 3) in [0, 1]: a picture in grey, and over it the colours of heat from `lowest` to `highest`, which cover
    it the more the higher it is."""
    import matplotlib

    grey = frame.astype(np.float64) / 255.0
    grey = grey if grey.ndim == 2 else grey @ np.array([0.299, 0.587, 0.114])
    level = np.clip((heat - lowest) / max(highest - lowest, 1e-12), 0.0, 1.0)
    colour = matplotlib.colormaps[COLOURS](0.25 + 0.75 * level)[..., :3]
    cover = (0.85 * np.sqrt(level))[..., None]
    return np.clip((1 - cover) * 0.75 * grey[..., None] + cover * colour, 0.0, 1.0)


def bare(axis: Any) -> None:
    """A panel that holds a picture and nothing else."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def picture(axis: Any, image: Any) -> None:
    """A frame or a blended one, as it is."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    bare(axis)


def close_together(figure: Any) -> None:
    """Little room between panels, and some around all of them."""
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0, rect=(0.01, 0.01, 0.98, 0.98))


def colour_bar(figure: Any, axes: Any, ends: tuple[float, float], text: str, theme: Theme, above: bool = False) -> None:
    """What the colours mean, from the lowest to the highest.  above: whether some values are beyond the last."""
    import matplotlib

    shown = matplotlib.colors.LinearSegmentedColormap.from_list(
        "heat", matplotlib.colormaps[COLOURS](np.linspace(0.25, 1.0, 64))
    )
    mapped = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(*ends), shown)
    bar = figure.colorbar(mapped, ax=axes, fraction=0.04, pad=0.02, aspect=30, extend="max" if above else "neither")
    bar.set_label(text, fontsize=theme.size)
    bar.outline.set_visible(False)
