"""Generated and real samples on one map, which shows what a model leaves out and what it invents."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.errors import ConfigError, PluginError
from emnist_diff_plugins.figures import new_figure, png_of

Floats = npt.NDArray[np.float64]
Method = Literal["umap", "tsne", "pca"]

METHODS = ("umap", "tsne", "pca")
_NEIGHBOURS, _DISTANCE = 15, 0.1
"""Of UMAP (McInnes et al., 2018, arXiv:1802.03426)."""


@attrs.frozen(eq=False)
class Map:
    """Points in the plane.

    real, generated: (N, 2) and (M, 2).  labels: (N,) the real ones' classes, indices into `classes`.
    silhouette: of generated against real points, −1 … 1: about 0 where both lie among each other, more where they can
    be told apart; None without scikit-learn.
    """

    method: Method
    real: Floats
    generated: Floats
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    silhouette: float | None


def mapped(
    method: str, real: Floats, generated: Floats, labels: npt.NDArray[np.int64], classes: tuple[str, ...], seed: int
) -> Map:
    """Vectors (N, D) of real samples and (M, D) of generated ones, reduced to two numbers together.

    Raises `ConfigError` for another method and for fewer than three points, `PluginError` where its library is missing.
    """
    if method not in METHODS:
        raise ConfigError(f"--method {method!r}: use one of {', '.join(METHODS)}")
    points = np.concatenate([real, generated])
    if len(points) < 3 or not len(real) or not len(generated):
        raise ConfigError(f"{len(real)} real and {len(generated)} generated samples are too few for a map")
    plane = {"umap": _umap, "tsne": _tsne, "pca": _pca}[method](points, seed)
    known: Method = "umap" if method == "umap" else "tsne" if method == "tsne" else "pca"
    belongs = np.repeat([0, 1], [len(real), len(generated)])
    return Map(known, plane[: len(real)], plane[len(real) :], labels, classes, _silhouette(points, belongs))


def _pca(points: Floats, seed: int) -> Floats:
    """The two directions of largest variance, each with the sign that makes its largest entry positive."""
    centred = points - points.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    axes = directions[:2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    plane: Floats = centred @ axes.T
    return plane if plane.shape[1] == 2 else np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def _tsne(points: Floats, seed: int) -> Floats:
    """t-SNE (van der Maaten and Hinton, 2008)."""
    manifold = _library("sklearn.manifold", "scikit-learn")
    perplexity = min(30.0, (len(points) - 1) / 3)
    plane: Floats = manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return plane


def _umap(points: Floats, seed: int) -> Floats:
    library = _library("umap", "umap-learn")
    neighbours = min(_NEIGHBOURS, len(points) - 1)
    plane: Floats = library.UMAP(n_neighbors=neighbours, min_dist=_DISTANCE, random_state=seed, n_jobs=1).fit_transform(
        points
    )
    return plane


def _library(module: str, distribution: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PluginError(
            f'{distribution} is not installed — pip install "emnist-diff[maps]", or use --method pca'
        ) from error


def _silhouette(points: Floats, belongs: npt.NDArray[np.int64]) -> float | None:
    """Of all vectors as they are, not of the plane (Rousseeuw, 1987)."""
    try:
        metrics = _library("sklearn.metrics", "scikit-learn")
    except PluginError:
        return None
    return float(metrics.silhouette_score(points, belongs))


def picture(found: Map) -> bytes:
    """A PNG: real and generated points, and the real ones by class over the generated ones in grey."""
    figure = new_figure(10.0, 5.0)
    both, by_class = figure.subplots(1, 2)
    both.scatter(*found.real.T, s=5, color="tab:blue", alpha=0.5, label=f"real ({len(found.real)})")
    both.scatter(*found.generated.T, s=5, color="tab:red", alpha=0.5, label=f"generated ({len(found.generated)})")
    both.set_title(f"{found.method}: real and generated", fontsize=9)
    both.legend(fontsize=7)
    by_class.scatter(*found.generated.T, s=5, color="lightgrey")
    shown = np.unique(found.labels)
    for place, number in enumerate(shown.tolist()):
        own = found.labels == number
        colour = f"C{place}" if len(shown) <= 10 else None
        name = found.classes[number] if len(shown) <= 20 else None
        by_class.scatter(*found.real[own].T, s=5, color=colour, label=name)
    by_class.set_title("real by class, over generated", fontsize=9)
    if len(shown) <= 20:
        by_class.legend(fontsize=6, markerscale=2, ncols=2)
    for axis in (both, by_class):
        axis.set_xticks([])
        axis.set_yticks([])
    return png_of(figure)
