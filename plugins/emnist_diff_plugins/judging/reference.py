"""What a judge knows of real images: of each class how its features lie, how its pixels vary, how often it is
recognised."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Reference:
    """Statistics of real images by class, C of them with F features.

    mean: (C, F) of features.  covariance: (C, F, F).  deviation: (C,) see `deviation`.
    recognised: (C,) the share of test images that the judge takes for what they are.
    """

    mean: Floats
    covariance: Floats
    deviation: Floats
    recognised: Floats

    def of_classes(self, shares: Floats) -> tuple[Floats, Floats]:
        """Mean (F,) and covariance (F, F) of real images that are of the classes by these shares (C,), which add up
        to 1: a mixture's, so that samples of some classes are compared with real images of the same."""
        mean = shares @ self.mean
        apart = self.mean - mean
        covariance = np.tensordot(shares, self.covariance, 1) + (shares[:, None] * apart).T @ apart
        return mean, covariance


def deviation(images: npt.NDArray[np.uint8]) -> float:
    """How much images (N, C, H, W) of a class vary: the standard deviation of a pixel in [0, 1] over the images, in
    the mean over the pixels."""
    return float((images.astype(np.float64) / 255.0).std(axis=0).mean())


def moments(features: Floats, labels: npt.NDArray[np.int64], classes: Sequence[str]) -> tuple[Floats, Floats]:
    """Mean (C, F) and covariance (C, F, F) of features (N, F) by class; a class with fewer than two images has
    covariance 0."""
    width = features.shape[1]
    mean, covariance = np.zeros((len(classes), width)), np.zeros((len(classes), width, width))
    for number in range(len(classes)):
        some = features[labels == number]
        if len(some):
            mean[number] = some.mean(0)
        if len(some) > 1:
            covariance[number] = np.cov(some, rowvar=False)
    return mean, covariance


def frechet(mean: Floats, covariance: Floats, other_mean: Floats, other_covariance: Floats) -> float:
    """The squared Fréchet distance of two normal distributions, |m − m'|² + tr(S + S' − 2 (S S')^½), by which
    Heusel et al. (2017, arXiv:1706.08500, equation 6) compare features."""
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ other_covariance @ root)
    distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other_covariance)
    return float(max(0.0, distance - 2.0 * np.sqrt(inner.clip(0.0)).sum()))
