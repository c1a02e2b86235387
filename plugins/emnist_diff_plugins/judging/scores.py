"""How samples compare with real images of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
import torch

from emnist_diff_plugins.judging.file import Judge
from emnist_diff_plugins.judging.network import examined
from emnist_diff_plugins.judging.reference import deviation, frechet

_CHUNK = 256


@attrs.frozen
class ClassScore:
    """Samples of one class.

    count: how many.  recognised: the share that the judge takes for the class; real: that of real images.
    spread: how much they vary against real images, 1 for as much; None for fewer than two samples.
    """

    name: str
    count: int
    recognised: float
    real: float
    spread: float | None


@attrs.frozen
class Score:
    """Samples of some classes.

    recognised: the share of samples that the judge takes for their own class; real: that of real images of the same
    classes.
    frechet: the squared Fréchet distance to real images of the same classes, in the judge's features; None for fewer
    than two samples. It falls with the number of samples: compare equal numbers.
    spread: the mean over the classes, None without any.
    """

    count: int
    recognised: float
    real: float
    frechet: float | None
    spread: float | None
    classes: tuple[ClassScore, ...]

    def as_data(self) -> dict[str, Any]:
        """JSON-ready."""
        return attrs.asdict(self)


def score(judge: Judge, images: npt.NDArray[np.uint8], names: Sequence[str]) -> Score:
    """What a judge says of images, uint8 (N, C, H, W), N > 0, of the classes named, (N,), all of which it knows."""
    labels = np.array([judge.classes.index(name) for name in names], dtype=np.int64)
    features, found = examined(judge.network, torch.from_numpy(images))
    right = found.numpy() == labels
    parts = []
    for number in np.unique(labels).tolist():
        own = labels == number
        real = float(judge.reference.deviation[number])
        spread = deviation(images[own]) / real if own.sum() > 1 and real > 0 else None
        rates = float(right[own].mean()), float(judge.reference.recognised[number])
        parts.append(ClassScore(judge.classes[number], int(own.sum()), *rates, spread))
    shares = np.bincount(labels, minlength=len(judge.classes)) / len(labels)
    spreads = [part.spread for part in parts if part.spread is not None]
    return Score(
        len(labels),
        float(right.mean()),
        float(shares @ judge.reference.recognised),
        _distance(judge, features.double().numpy(), shares),
        float(np.mean(spreads)) if spreads else None,
        tuple(parts),
    )


def _distance(judge: Judge, features: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> float | None:
    if len(features) < 2:
        return None
    return frechet(features.mean(0), np.cov(features, rowvar=False), *judge.reference.of_classes(shares))


def nearest(
    images: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Of each image (N, C, H, W) the nearest of `others` (M, C, H, W): its number, and the root mean squared
    difference of their pixels in [0, 1]."""
    every = torch.from_numpy(others).flatten(1).to(torch.float32) / 255.0
    numbers, distances = [], []
    for first in range(0, len(images), _CHUNK):
        some = torch.from_numpy(images[first : first + _CHUNK]).flatten(1).to(torch.float32) / 255.0
        distance, number = torch.cdist(some, every).min(1)
        numbers.append(number.numpy())
        distances.append(distance.double().numpy() / every.shape[1] ** 0.5)
    return np.concatenate(numbers), np.concatenate(distances)
