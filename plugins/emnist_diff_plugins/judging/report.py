"""The samples of a trajectory file before a judge, and their nearest training images."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from emnist_diff.config import ComponentConfig
from emnist_diff.errors import ConfigError, DatasetError, TrajectoryError
from emnist_diff.plugins import Registry
from emnist_diff.structuring import structure
from emnist_diff_plugins import parse
from emnist_diff_plugins.datasets.images import Images
from emnist_diff_plugins.judging.file import Judge, chosen
from emnist_diff_plugins.judging.scores import Score, nearest, score
from emnist_diff_plugins.pictures import save_png, table
from emnist_diff_plugins.runconfig import component
from emnist_diff_plugins.training.data import load
from emnist_diff_trajectory.reader import Trajectory

_SHOWN, _COLUMNS, _SCALE = 20, 20, 3


@attrs.frozen(eq=False)
class Samples:
    """Finished samples before their judge.  images: uint8 (N, C, H, W).  names: (N,) their classes."""

    judge: Judge
    images: npt.NDArray[np.uint8]
    names: Sequence[str]


def finished_images(file: Path) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """The committed samples of a trajectory file, (N, C, H, W), N > 0, and their classes.

    Raises `TrajectoryError` for a file without committed samples or without images.
    """
    with Trajectory(file) as trajectory:
        committed = list(trajectory.committed)
        if not committed:
            raise TrajectoryError(f"{file} holds no committed sample — finish the run with --resume")
        if "images" not in trajectory.datasets():
            raise TrajectoryError(f"{file} holds no finished images — record them by the sink hdf5")
        images = np.stack([np.asarray(trajectory[position].image) for position in committed])
        return planes(images), [trajectory[position].character for position in committed]


def judged(file: Path, requested: str | None) -> tuple[Samples, Score]:
    """The committed samples of a trajectory file, and what a judge says of them; the judge as for `file.chosen`.

    Raises as `finished_images`, and `ConfigError` where no judge fits.
    """
    images, names = finished_images(file)
    judge = chosen(requested, sorted(set(names)), images.shape[1:])
    return Samples(judge, images, names), score(judge, images, names)


def planes(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, C, H, W) from those that files hold, (N, H, W) or (N, H, W, 3)."""
    return images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)


def read_data(registry: Registry, dataset: str | None, data: str, part: str) -> Images:
    """A part of a dataset, as ``--dataset`` and ``--data`` name it; without a name EMNIST, or MNIST where `data` holds
    that. Raises as the reader."""
    if dataset is None:
        try:
            return read_data(registry, "emnist", data, part)
        except DatasetError:
            with contextlib.suppress(DatasetError):
                return read_data(registry, "mnist", data, part)
            raise
    requested = component({**parse.component(dataset, "--dataset"), "data": data, "part": part}, "--dataset")
    return load(registry, structure(requested, ComponentConfig, "--dataset"))


@attrs.frozen(eq=False)
class Nearest:
    """The nearest training image of each sample.  distances: (N,) root mean squared differences of pixels in [0, 1]."""

    samples: npt.NDArray[np.uint8]
    images: npt.NDArray[np.uint8]
    distances: npt.NDArray[np.float64]

    @property
    def line(self) -> str:
        """For people."""
        middle, least = np.median(self.distances), self.distances.min()
        return f"nearest training images differ by {middle:.3f} (median) and by {least:.3f} at least"

    def as_data(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"median": float(np.median(self.distances)), "least": float(self.distances.min())}

    def save(self, path: Path) -> None:
        """The samples that are nearest to a training image, each above it. Raises `OutputError`."""
        order = np.argsort(self.distances, kind="stable")[:_SHOWN]
        rows = [*self.samples[order], *self.images[order]]
        pixels = [np.moveaxis(image, 0, -1) if len(image) == 3 else image[0] for image in rows]
        save_png(table(pixels, min(_COLUMNS, len(order))), path, _SCALE)


def nearest_of(samples: Samples, registry: Registry, dataset: str | None, data: str) -> Nearest:
    """The nearest training image of each sample, of any class. Raises as the dataset's reader, and `ConfigError` for
    images of another size."""
    images = read_data(registry, dataset, data, "train").images
    if images.shape[1:] != samples.images.shape[1:]:
        raise ConfigError(
            f"--data: its images are {'×'.join(map(str, images.shape[1:]))}, the samples "
            f"{'×'.join(map(str, samples.images.shape[1:]))}"
        )
    numbers, distances = nearest(samples.images, images)
    return Nearest(samples.images, images[numbers], distances)
