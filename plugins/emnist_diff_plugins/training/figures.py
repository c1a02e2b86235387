"""Figures of a training: latents in the plane, and the course of the losses."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emnist_diff.errors import PluginError
from emnist_diff.events import get_logger
from emnist_diff_plugins.figures import new_figure, png_of
from emnist_diff_plugins.training.pictures import Picture

log = get_logger()

_LEGEND = 20
"""Classes of which a legend has room."""


def latents(
    name: str, states: Tensor, labels: Tensor, classes: Sequence[str], samples: tuple[Tensor, Tensor] | None = None
) -> list[Picture]:
    """States (N, *shape) along their first two principal axes, a dot of its class's colour each, with the share of the
    variance in the axes' names; nothing, and a warning, without matplotlib.

    samples: states and labels of what a model drew, crosses in the same plane.
    """
    try:
        figure = new_figure(6.4, 6.0)
    except PluginError as error:
        undrawn(str(error))
        return []
    flat = states.flatten(1).double().cpu()
    mean, axes, shares = _principal(flat)
    panel = figure.add_subplot()
    colours = figure_colours(len(classes))
    for cloud, index, how in _clouds(flat, labels, samples):
        places = ((cloud - mean) @ axes).numpy()
        for number, label in enumerate(classes):
            own = places[index == number]
            if len(own):
                shown = label if how["marker"] == "o" else None
                panel.scatter(own[:, 0], own[:, -1], color=[colours[number]], label=shown, **how)
    panel.set_xlabel(f"first principal axis, {shares[0]:.0%} of the variance")
    panel.set_ylabel(f"second, {shares[-1]:.0%}" if len(shares) > 1 else "the same")
    what = "latents of held-out images" + ("" if samples is None else "; samples of the model as crosses")
    panel.set_title(what, fontsize="medium")
    if len(classes) <= _LEGEND:
        panel.legend(markerscale=1.6, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.canvas.draw()
    return [Picture("latents", name, np.asarray(figure.canvas.buffer_rgba())[..., :3].copy(), 1)]


@functools.cache
def undrawn(reason: str) -> None:
    """Warn, once, that figures are left out."""
    log.warning("train.no_figures", reason=reason)


def figure_colours(count: int) -> np.ndarray:
    """A colour for each class, (count, 4)."""
    from matplotlib import colormaps

    ten = count <= 10
    return np.asarray(colormaps["tab10" if ten else "turbo"](np.arange(count) if ten else np.linspace(0, 1, count)))


def _clouds(
    flat: Tensor, labels: Tensor, samples: tuple[Tensor, Tensor] | None
) -> list[tuple[Tensor, np.ndarray, dict[str, Any]]]:
    """What is drawn: points, their classes, and how."""
    clouds = [(flat, labels.cpu().numpy(), {"marker": "o", "s": 9, "alpha": 0.55, "linewidths": 0})]
    if samples is not None:
        crosses: dict[str, Any] = {"marker": "x", "s": 34, "linewidths": 1.4}
        clouds.append((samples[0].flatten(1).double().cpu(), samples[1].cpu().numpy(), crosses))
    return clouds


def _principal(flat: Tensor) -> tuple[Tensor, Tensor, list[float]]:
    """Mean (D,), the first two principal axes (D, ≤ 2) with their largest entries positive, so that figures of one
    training can be compared, and their shares of the variance."""
    mean = flat.mean(0)
    centred = flat - mean
    _, lengths, rows = torch.linalg.svd(centred, full_matrices=False)  # states may have more numbers than there are
    values, axes = lengths.square(), rows.T[:, :2]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    total = float(values.sum()) or 1.0
    return mean, axes * largest.sign(), [float(value) / total for value in values[:2]]


def loss_curves(rows: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG: the training loss of each epoch, mean and spread, and the loss on held-out images. Raises `PluginError`
    without matplotlib."""
    figure = new_figure(7.0, 4.2)
    panel = figure.add_subplot()
    epochs, mean, std = (np.array([row[name] for row in rows], float) for name in ("epoch", "loss_mean", "loss_std"))
    panel.plot(epochs, mean, "o-", markersize=3, label="training, mean of the epoch")
    panel.fill_between(epochs, mean - std, mean + std, alpha=0.2, linewidth=0, label="its deviation over steps")
    panel.plot(
        [row["epoch"] for row in validations],
        [row["held_out_loss"] for row in validations],
        "s-",
        markersize=3,
        label="held-out images, averaged weights",
    )
    if len(mean) and (mean - std).min() > 0 and mean.max() > 5 * mean.min():
        panel.set_yscale("log")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.set_xlabel("epoch")
    panel.set_ylabel("loss")
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small", frameon=False)
    return png_of(figure)
